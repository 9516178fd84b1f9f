"""A PostgreSQL server for tests: a new cluster in a temporary folder, run by an ordinary user."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.harness.servers import free_port, needs

DEADLINE_SECONDS = 60.0
USER = "carillon"
DATABASE = "postgres"


@contextmanager
def postgresql(**settings: str) -> Iterator[str]:
    """The URL of a running server. It syncs nothing to disk, because no test survives a crash."""
    programs = _program_folder()
    # Not below pytest's folder: if root runs the tests, only root may enter that.
    folder = Path(tempfile.mkdtemp(prefix="carillon-postgresql-"))
    try:
        user = _unprivileged_user(folder)
        data = folder / "data"
        initdb: list[str | Path] = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
        ]
        with (folder / "initdb.log").open("wb") as out:
            subprocess.run(
                [*initdb, "--locale=C", "--no-sync"],
                check=True,
                stdout=out,
                stderr=out,
                timeout=DEADLINE_SECONDS,
                cwd=folder,
                **user,
            )
        with _running(programs, folder, data, user, **settings) as port:
            yield f"postgres://{USER}@127.0.0.1:{port}/{DATABASE}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def replicated_postgresql(*, lag_seconds: float) -> Iterator[tuple[str, str]]:
    """The URLs of a primary and of a standby, which applies each commit so much later."""
    programs = _program_folder()
    with postgresql() as url:
        folder = Path(tempfile.mkdtemp(prefix="carillon-standby-"))
        try:
            user = _unprivileged_user(folder)
            data = folder / "data"
            copy: list[str | Path] = [programs / "pg_basebackup", "-D", data, "-d", url]
            subprocess.run(
                [*copy, "--write-recovery-conf", "--checkpoint=fast", "--no-sync"],
                check=True,
                timeout=DEADLINE_SECONDS,
                cwd=folder,
                **user,
            )
            delay = {"recovery_min_apply_delay": f"{round(lag_seconds * 1000)}ms"}
            with _running(programs, folder, data, user, **delay) as port:
                yield url, f"postgres://{USER}@127.0.0.1:{port}/{DATABASE}"
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def wait_for_standby(url: str, standby_url: str) -> None:
    """Wait until the standby has applied all that the primary has now."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    with psycopg.connect(url) as primary, psycopg.connect(standby_url, autocommit=True) as standby:
        [position] = primary.execute("SELECT pg_current_wal_lsn()::text").fetchone() or [""]
        query = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        while standby.execute(query, [position]).fetchone() != (True,):
            assert time.monotonic() < deadline, "The standby does not catch up."
            time.sleep(0.02)


@contextmanager
def _running(
    programs: Path, folder: Path, data: Path, user: dict[str, Any], **settings: str
) -> Iterator[int]:
    port = free_port()
    options = {
        **settings,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "shared_buffers": "16MB",
    }
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    with (folder / "server.log").open("wb") as out:
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-p", str(port), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder,
            **user,
        )
    try:
        _wait_until_ready(port, server, folder / "server.log")
        yield port
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)


def _wait_until_ready(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user=USER, dbname=DATABASE).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(log.read_text()) from None
            time.sleep(0.02)
        else:
            return


def _program_folder() -> Path:
    """The folder of `initdb`. Debian has one for each version, and none is on the path."""
    programs = [*Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    on_path = shutil.which("initdb")
    if on_path:
        programs.append(Path(on_path).resolve())
    needs("PostgreSQL", found=programs)
    return programs[0].parent


def _unprivileged_user(folder: Path) -> dict[str, Any]:
    """Options for `subprocess`: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    account = pwd.getpwnam("postgres")
    os.chown(folder, account.pw_uid, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

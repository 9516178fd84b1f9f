"""A PostgreSQL of our own: a cluster in a folder of its own, as nobody special."""

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

DEADLINE = 60.0
USER = "carillon"
DATABASE = "postgres"


@contextmanager
def postgresql() -> Iterator[str]:
    """Its URL. It keeps nothing that a crash of the machine would not take."""
    programs = _programs()
    # Not below pytest's own folder, which only root may enter where it is root's.
    folder = Path(tempfile.mkdtemp(prefix="carillon-postgresql-"))
    try:
        somebody = _not_root(folder)
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
                timeout=DEADLINE,
                cwd=folder,
                **somebody,
            )
        with _running(programs, folder, data, somebody) as port:
            yield f"postgres://{USER}@127.0.0.1:{port}/{DATABASE}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(programs: Path, folder: Path, data: Path, somebody: dict[str, Any]) -> Iterator[int]:
    port = free_port()
    options = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "shared_buffers": "16MB",
    }
    given = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    with (folder / "server.log").open("wb") as out:
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-p", str(port), *given],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder,
            **somebody,
        )
    try:
        _wait(port, server, folder / "server.log")
        yield port
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)


def _wait(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    limit = time.monotonic() + DEADLINE
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user=USER, dbname=DATABASE).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > limit:
                raise AssertionError(log.read_text()) from None
            time.sleep(0.02)
        else:
            return


def _programs() -> Path:
    """Debian keeps them apart by version, and off the path."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    elsewhere = shutil.which("initdb")
    if elsewhere:
        found.append(Path(elsewhere).resolve())
    needs("PostgreSQL", found=found)
    return found[0].parent


def _not_root(folder: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    somebody = pwd.getpwnam("postgres")
    os.chown(folder, somebody.pw_uid, somebody.pw_gid)
    return {"user": somebody.pw_uid, "group": somebody.pw_gid, "extra_groups": []}

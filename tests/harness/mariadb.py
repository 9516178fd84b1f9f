"""A MariaDB server for tests: new tables in a temporary folder, run by an ordinary user."""

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

import pymysql

from tests.harness.servers import free_port, needs

pymysql.install_as_MySQLdb()  # Django knows the name of mysqlclient alone

DEADLINE_SECONDS = 60.0
DATABASE = "carillon"


@contextmanager
def mariadb() -> Iterator[str]:
    """The URL of a running server. It syncs nothing to disk, because no test survives a crash.

    Its clock is that of a zone with another time than UTC, as on many machines. It has no TLS, and
    the URL says so, or PyMySQL would read the certificates of all authorities for each connection.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"  # where Debian has the server
    server, install = (shutil.which(name, path=path) for name in ("mariadbd", "mariadb-install-db"))
    needs("MariaDB", found=bool(server and install))
    assert server
    assert install
    # Not below pytest's folder: if root runs the tests, only root may enter that.
    folder = Path(tempfile.mkdtemp(prefix="carillon-mariadb-"))
    try:
        user = _unprivileged_user(folder)
        data = folder / "data"
        with (folder / "install.log").open("wb") as out:
            subprocess.run(
                [
                    *(install, "--no-defaults", f"--datadir={data}", "--skip-test-db"),
                    "--auth-root-authentication-method=normal",
                ],
                check=True,
                stdout=out,
                stderr=out,
                timeout=DEADLINE_SECONDS,
                cwd=folder,
                **user,
            )
        with _running(server, folder, data, user) as port:
            yield f"mysql://root@127.0.0.1:{port}/{DATABASE}?ssl_disabled=true"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(server: str, folder: Path, data: Path, user: dict[str, Any]) -> Iterator[int]:
    port = free_port()
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                *(server, "--no-defaults", f"--datadir={data}", f"--port={port}"),
                *("--bind-address=127.0.0.1", f"--socket={folder / 'socket'}"),
                *(f"--pid-file={folder / 'pid'}", "--default-time-zone=-05:00"),
                *("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder,
            **user,
        )
    try:
        _wait_until_ready(port, process, log)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _wait_until_ready(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            connection = pymysql.connect(host="127.0.0.1", port=port, user="root")
        except pymysql.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(log.read_text()) from None
            time.sleep(0.02)
        else:
            with connection, connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")
            return


def _unprivileged_user(folder: Path) -> dict[str, Any]:
    """Options for `subprocess`: MariaDB refuses to run as root."""
    if os.getuid() != 0:
        return {}
    account = pwd.getpwnam("mysql")
    os.chown(folder, account.pw_uid, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

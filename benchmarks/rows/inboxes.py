"""People with an inbox and an open page, beside pages that ask for what is new."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg

from benchmarks import peers, processes
from benchmarks.builds import base_python
from benchmarks.database import MAKE_DATABASE, SESSION_OF_ONE, SESSION_OF_USER
from benchmarks.peers import Peer
from benchmarks.processes import ROOT, Broken, Cpu, free_port, running, wait_for_http
from benchmarks.rows.connecting import OF_USERS
from benchmarks.table import Bench, Cell, Line, Row, Sample
from tests.harness.postgresql import postgresql

PEER_PACKAGES = ("django-notifications-community==1.12.3", "psycopg[binary]", "gunicorn")
POLL_EVERY_SECONDS = 15
"""As its own script does it."""
POLL_PATH = "/inbox/notifications/api/unread_list/?max=5"
MINUTE = 60.0
DEADLINE_SECONDS = 120.0
MILLI = 1e3

NOTIFIED_SHARE = 0.1
"""Of the people, so many are notified within the minute: each once in ten minutes."""
ADD = """
import time
from django.contrib.auth.models import User
from notifications import notify
began = time.monotonic()
users = list(User.objects.all()[:{people}])
for number, user in enumerate(users):
    time.sleep(max(0.0, began + {seconds} * number / {people} - time.monotonic()))
    notify(user, "message", {{"text": "Your order was paid."}})
"""
NOTIFY_ALL = """
import sys
import time
from django.contrib.auth.models import User
from notifications import notify
User.objects.exists()  # connects
began = time.monotonic()
notify(User.objects.all(), "message", {{"text": "Closed on Friday."}})
returned = time.monotonic()
with open({times!r}, "w") as file:
    print(began, returned, file=file)
sys.stdin.read()  # as a process of a site, which does not end
"""
LOOK_EVERY_SECONDS = 0.01
TIMES = "times"
"""The file of a program that tells when its call began and returned, by the machine's one clock."""


@dataclass(frozen=True, slots=True)
class Database:
    """A PostgreSQL that counts its queries."""

    url: str
    pid: int

    @property
    def cpu(self) -> Cpu:
        while True:
            # A connection's process may end meanwhile: then it counts among those that have ended.
            with suppress(FileNotFoundError):
                running = processes.cpu(processes.family(self.pid))
                return running + processes.cpu_of_ended_children(self.pid)

    @property
    def queries(self) -> int:
        return self.number("SELECT sum(calls)::bigint FROM pg_stat_statements")

    def number(self, query: str) -> int:
        with psycopg.connect(self.url) as connection:
            [number] = connection.execute(query).fetchone() or [0]
        return int(number or 0)


@contextmanager
def _database() -> Iterator[Database]:
    preloaded = {
        "shared_preload_libraries": "pg_stat_statements",
        "pg_stat_statements.track_utility": "off",
    }
    with postgresql(**preloaded) as url:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
            [folder] = connection.execute("SHOW data_directory").fetchone() or [""]
        yield Database(url, int(Path(folder, "postmaster.pid").read_text().split()[0]))


@dataclass(frozen=True, slots=True)
class Site:
    """A site with people, its database, and what it needs besides, such as Redis."""

    peer: Peer
    database: Database
    shell: "Shell"
    others: Sequence[int] = ()

    @property
    def cpu(self) -> Cpu:
        return processes.cpu([*self.peer.pids, *self.others]) + self.database.cpu


@dataclass(frozen=True, slots=True)
class Shell:
    """How programs of a site are run."""

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]

    def run(
        self, *arguments: str, before_end: Callable[[Callable[[], bool]], None] = lambda _: None
    ) -> Cpu:
        """Run a program to its end, which waits for that of its input. Returns its CPU.

        `before_end` is called with whether the program still runs.
        """
        with (self.folder / "shell.log").open("ab") as out:
            process = subprocess.Popen(
                [*self.command, *arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                preexec_fn=processes.end_with_parent,
            )
            try:
                before_end(partial(_is_running, process.pid))
            finally:
                process.stdin.close()  # type: ignore[union-attr]
                _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise Broken(f"{' '.join(arguments)[:60]} failed: see {out.name}")
        return Cpu(used.ru_utime, used.ru_stime)


def _is_running(pid: int) -> bool:
    """Whether a child runs, which is waited for later."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


@contextmanager
def _ours(bench: Bench, *, people: int) -> Iterator[Site]:
    with _database() as database, peers.redis(bench.folder) as store:
        settings = {"DATABASE_URL": database.url, "CARILLON_OUTBOX": "in-process"}
        manage = ("manage.py", "shell", "--verbosity", "0", "-c")
        variables = {**peers.environment(bench.folder, store), **settings, "PYTHONPATH": str(ROOT)}
        shell = Shell([sys.executable, str(ROOT / manage[0]), *manage[1:]], bench.folder, variables)
        sessions = {"of_user": SESSION_OF_USER, "of_one": SESSION_OF_ONE}
        shell.run(MAKE_DATABASE.format(users=people, **sessions))
        with peers.carillon(bench.folder, store, "uvicorn", settings=settings) as peer:
            yield Site(peer, database, shell, [store.pid])


@contextmanager
def _theirs(bench: Bench, *, people: int) -> Iterator[Site]:
    python = _python_with_packages(bench.folder)
    site = Path(shutil.copy(ROOT / "benchmarks" / "sites" / "community.py", bench.folder))
    with _database() as database:
        variables = {"DATABASE_URL": database.url, "PATH": os.environ["PATH"]}
        shell = Shell([python, str(site)], bench.folder, variables)
        shell.run("prepare", str(people))
        port, log = free_port(), bench.folder / "community.log"
        # With threads, since an ASGI server would have a connection to the database per request.
        server = ["-m", "gunicorn", "community:application", "--threads", "8"]
        server += ["--bind", f"127.0.0.1:{port}", "--log-level", "warning"]
        # Of more connections than it may have, gunicorn closes one that a person is about to use.
        server += ["--keep-alive", "60", "--worker-connections", str(2 * people)]
        with running(
            [python, *server], log=log, environment=variables, folder=bench.folder
        ) as process:
            wait_for_http(process, port, "/up", log=log)
            yield Site(Peer(port, process.pid, "", ""), database, shell)


def _python_with_packages(folder: Path) -> str:
    """An environment with the package beside which we are measured, made once for a benchmark."""
    environment = folder / "community"
    python = environment / "bin" / "python"
    if not (environment / "installed").exists():
        for command in (
            [base_python(), "-m", "venv", str(environment)],
            [str(python), "-m", "pip", "install", "--quiet", *PEER_PACKAGES],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Broken(f"{PEER_PACKAGES[0]} cannot be installed: {done.stderr[-300:]}")
        (environment / "installed").touch()
    return str(python)


# A minute in which one person of ten is notified


def _following(bench: Bench) -> Sample:
    people = bench.scale.people
    seconds = MINUTE * bench.scale.pace
    with (
        _ours(bench, people=people) as site,
        bench.referee.holding(
            site.peer,
            streams=people,
            path=OF_USERS.path,
            headers=OF_USERS.headers,
            users=people + 1,
            first_user=1,
        ),
    ):
        before, queries = site.cpu, site.database.queries
        notified = round(people * NOTIFIED_SHARE)
        site.shell.run(ADD.format(people=notified, seconds=seconds))
        _wait_until_published(site, notified)
        return _per_person(site.cpu - before, site.database.queries - queries, people)


def _asking(bench: Bench) -> Sample:
    people = bench.scale.people
    seconds = MINUTE * bench.scale.pace
    with _theirs(bench, people=people) as site:
        asyncio.run(
            _poll(site.peer.port, people, 1, 1.0)
        )  # each has its connection to the database
        before, queries = site.cpu, site.database.queries
        adding = threading.Thread(
            target=site.shell.run, args=("add", str(round(people * NOTIFIED_SHARE)), str(seconds))
        )
        adding.start()
        rounds = round(seconds / (POLL_EVERY_SECONDS * bench.scale.pace))
        asyncio.run(_poll(site.peer.port, people, rounds, seconds / rounds))
        adding.join()
        return _per_person(site.cpu - before, site.database.queries - queries, people)


def _per_person(cpu: Cpu, queries: int, people: int) -> Sample:
    return {**cpu.each(people).figures("cpu"), "queries": queries / people}


def _wait_until_published(site: Site, number: int) -> None:
    """Raises `Broken` unless so many notifications have reached their lists."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    # One connection: each new one would cost the database as much as twenty notifications.
    with psycopg.connect(site.database.url, autocommit=True) as connection:
        waiting = "SELECT EXISTS (SELECT 1 FROM carillon_outboxevent)"
        while connection.execute(waiting).fetchone() == (True,):
            if time.monotonic() > deadline:
                raise Broken("Not all notifications were published.")
            time.sleep(LOOK_EVERY_SECONDS)
    listed = "SELECT count(*) FROM carillon_inbox_notification WHERE NOT pending"
    if site.database.number(listed) < number:
        raise Broken("Not all notifications have reached their lists.")


async def _poll(port: int, people: int, rounds: int, seconds: float) -> None:
    """Everybody asks once in each round, each at a time of their own, over an open connection."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def person(number: int) -> None:
        request = (
            f"GET {POLL_PATH} HTTP/1.1\r\nHost: localhost\r\n"
            f"Cookie: sessionid={SESSION_OF_USER % number}\r\n\r\n"
        ).encode()
        reader, writer = None, None
        for turn in range(rounds):
            await asyncio.sleep(began + seconds * (turn + number / people) - loop.time())
            if reader is None or writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise Broken(f"A poll was answered with {head[:40]!r}.")
            await reader.readexactly(int(_LENGTH.search(head.lower())[1]))  # type: ignore[index]
        if writer is not None:
            writer.close()

    await asyncio.gather(*map(person, range(1, people + 1)))


_LENGTH = re.compile(rb"content-length: (\d+)")


# Many at once


def _notifying(bench: Bench) -> Sample:
    people = bench.scale.notified
    with _ours(bench, people=people) as site:
        program = NOTIFY_ALL.format(times=str(bench.folder / TIMES))
        return _at_once(site, "pass", program, lambda: _wait_until_published(site, people))


def _inserting(bench: Bench) -> Sample:
    with _theirs(bench, people=bench.scale.notified) as site:
        return _at_once(site, "nothing", "all", None)


def _at_once(site: Site, nothing: str, program: str, wait: Callable[[], None] | None) -> Sample:
    """The seconds of the call, and the CPU that its program takes more than one that does nothing.

    The program stays while its notifications are published, as a process of a site does: its end
    takes Python a quarter of a second of CPU.
    """
    published = 0.0

    def until_published(is_running: Callable[[], bool]) -> None:
        nonlocal published
        if wait is not None and _has_times(site.shell.folder, is_running):
            wait()
            published = time.monotonic()

    (site.shell.folder / TIMES).unlink(missing_ok=True)
    start = site.shell.run(nothing)
    before = site.cpu
    used = site.shell.run(program, before_end=until_published)
    began, returned = map(float, (site.shell.folder / TIMES).read_text().split())
    published = published or returned
    return {
        **(used - start + site.cpu - before).figures("cpu"),
        "returned": returned - began,
        "published": published - began,
    }


def _has_times(folder: Path, is_running: Callable[[], bool]) -> bool:
    """Wait for the times of a program. False if it has ended without them."""
    while not (folder / TIMES).exists():
        if not is_running():
            return (folder / TIMES).exists()
        time.sleep(LOOK_EVERY_SECONDS)
    return True


def _missing() -> str | None:
    if not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        return "PostgreSQL is not installed (apt install postgresql)"
    return None


CELLS = [
    Cell(name="following", measure=_following, seconds=80, missing=_missing),
    Cell(name="asking", measure=_asking, seconds=90, ours=False, missing=_missing),
    Cell(name="notifying", measure=_notifying, seconds=30, missing=_missing),
    Cell(name="inserting", measure=_inserting, seconds=30, ours=False, missing=_missing),
]
THEIRS = "django-notifications-community"

INBOX = Row(
    name="inbox",
    title="{people} people with an open page, each notified once in ten minutes, and {notified} by "
    "one call, beside polling every 15 s; with PostgreSQL",
    cells=CELLS,
    lines=[
        Line(
            text="CPU for a person and a minute",
            key=("following", "cpu"),
            unit="ms",
            factor=MILLI,
            beside=("asking", "cpu"),
            beside_text=THEIRS,
            at_most=0.1,
        ),
        Line(
            text="queries for a person and a minute",
            key=("following", "queries"),
            unit="",
            beside=("asking", "queries"),
            beside_text=THEIRS,
            at_most=0.1,
        ),
        Line(
            text="notify {notified} people: seconds until the call has returned",
            key=("notifying", "returned"),
            unit="s",
            beside=("inserting", "returned"),
            beside_text=THEIRS,
            at_most=1.0,
        ),
        Line(
            text="notify {notified} people: seconds until all are published",
            key=("notifying", "published"),
            unit="s",
            beside=("inserting", "published"),
            beside_text=THEIRS,
            at_most=1.0,
        ),
        Line(
            text="notify {notified} people: CPU of all processes",
            key=("notifying", "cpu"),
            unit="s",
            beside=("inserting", "cpu"),
            beside_text=THEIRS,
            at_most=1.0,
        ),
    ],
)

ROWS = (INBOX,)

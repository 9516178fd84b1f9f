"""The cost of a stream: to open it, to keep it, while nothing happens, and to open it again."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from benchmarks import database, peers, probe, processes
from benchmarks.database import SESSION_OF_ONE, SESSION_OF_USER
from benchmarks.peers import SERVERS, Peer
from benchmarks.processes import POLL_SECONDS, Broken, Cpu
from benchmarks.table import Bench, Line, Row, Sample, under_each

KIB = 1 / 1024
MILLI = 1e3
REPLACE_SECONDS = 90.0
IDLE_SECONDS = 3
"""After the last request, so that what is left is held by the streams."""


@dataclass(frozen=True, slots=True)
class Browsers:
    """How a crowd asks for its streams: `%d` stands for the number of the browser, from 1 on."""

    path: str | None = None
    headers: str = ""


ANYBODY = Browsers()
OF_ONE_USER = Browsers("/events/?topic=user.1", f"Cookie: sessionid={SESSION_OF_ONE}\r\n")
OF_USERS = Browsers("/events/?topic=user.%d", f"Cookie: sessionid={SESSION_OF_USER}\r\n")


@contextmanager
def _half(bench: Bench, peer: Peer, browsers: Browsers, *, first: int) -> Iterator[Cpu]:
    """Half of the crowd, whose streams stay open as long as the block runs."""
    crowd = bench.scale.crowd
    with bench.referee.holding(
        peer,
        streams=crowd // 2,
        path=browsers.path,
        headers=browsers.headers,
        users=crowd + 1,
        first_user=first,
    ) as connected:
        yield connected.cpu


@contextmanager
def _crowd(bench: Bench, peer: Peer, browsers: Browsers) -> Iterator[Sample]:
    """The whole crowd. Memory is the slope from its first half to its second, without garbage."""
    half = bench.scale.crowd // 2
    of_start = probe.collect(bench.folder, peer.pids)  # whether the tables exist
    with _half(bench, peer, browsers, first=1) as cpu:
        probe.collect(bench.folder, peer.pids)
        private, kernel = processes.private_bytes(peer.pids), processes.kernel_bytes()
        with _half(bench, peer, browsers, first=1 + half) as more_cpu:
            queries = probe.collect(bench.folder, peer.pids) - of_start
            yield {
                **(cpu + more_cpu).each(2 * half).figures("connect"),
                "memory": (processes.private_bytes(peer.pids) - private) / half,
                "kernel": (processes.kernel_bytes() - kernel) / half,
                "queries": queries / (2 * half),
            }


def _anonymous(bench: Bench, *, server: str) -> Sample:
    with bench.carillon(server) as peer, _crowd(bench, peer, ANYBODY) as sample:
        time.sleep(bench.scale.spread)
        before = processes.cpu(peer.pids)
        time.sleep(bench.scale.idle)
        idle = processes.cpu(peer.pids) - before
        return {**sample, **idle.each(bench.scale.idle).figures("idle")}


def _session(bench: Bench, *, server: str) -> Sample:
    with bench.carillon(server) as peer:
        threads = processes.thread_count(peer.pids)
        with _crowd(bench, peer, OF_ONE_USER) as sample:
            time.sleep(IDLE_SECONDS)
            files = processes.open_files(peer.pids)
            return {
                **sample,
                "threads": processes.thread_count(peer.pids) - threads,
                "databases": sum(name.endswith(database.FILE) for name in files),
            }


def _returning(bench: Bench, *, server: str) -> Sample:
    """The crowd comes, the worker that has its streams is replaced, and the crowd comes again."""
    crowd = bench.scale.crowd // 2 * 2
    with bench.carillon(server) as peer:
        with _crowd(bench, peer, OF_USERS) as first:
            drain = _replace_worker(peer)
        queries = probe.collect(bench.folder, peer.pids)
        again = bench.referee.connect(
            peer,
            streams=crowd,
            path=OF_USERS.path,
            headers=OF_USERS.headers,
            users=crowd + 1,
            first_user=1,
        )
        queries = probe.collect(bench.folder, peer.pids) - queries
    return {
        **first,
        **drain.each(crowd).figures("drain"),
        **again.cpu.each(crowd).figures("return"),
        "queries again": queries / crowd,
    }


def _replace_worker(peer: Peer) -> Cpu:
    """Have the supervisor replace its worker, and wait until that has ended; the CPU of its end."""
    ended = processes.cpu_of_ended_children(peer.pid)
    workers = set(peer.pids) - {peer.pid}
    before = processes.cpu(list(workers))
    os.kill(peer.pid, signal.SIGHUP)
    deadline = time.monotonic() + REPLACE_SECONDS
    while workers & set(peer.pids):
        if time.monotonic() > deadline:
            raise Broken("The worker with the streams did not end.")
        time.sleep(POLL_SECONDS)
    return processes.cpu_of_ended_children(peer.pid) - ended - before


def _bare(bench: Bench, *, server: str) -> Sample:
    with bench.site("bare", server) as peer:
        connected = bench.referee.connect(peer, streams=bench.scale.crowd)
    return connected.cpu.each(connected.opened).figures("connect")


def _views(bench: Bench, *, handler: str, server: str) -> Sample:
    """A tenth of the crowd, since Django's own handler takes long."""
    with (
        peers.redis(bench.folder) as store,
        peers.views(bench.folder, store, handler, server) as peer,
    ):
        posted = bench.referee.deliver(peer, streams=1, events=bench.scale.posts // 4, rate=0)
        connected = bench.referee.connect(peer, streams=bench.scale.crowd // 10)
    return {
        **posted.cpu.figures("post"),
        **connected.cpu.each(connected.opened).figures("connect"),
    }


ANONYMOUS = under_each("anonymous", _anonymous, 60, compared=True)
SESSION = under_each("session", _session, 40, compared=True, once=True)
RETURNING = under_each("returning", _returning, 70, compared=True)
BARE = under_each("bare", _bare, 9, ours=False)
IDLE_VIEW = "a view that does nothing, with all middleware"
HANDLERS = {"ours": "Carillon's handler", "djangos": "Django's own handler"}
VIEWS = [
    cell
    for handler in HANDLERS
    for cell in under_each(f"views {handler}", partial(_views, handler=handler), 10, ours=False)
]

CONNECT = Row(
    name="connect",
    title="CPU per connect, {crowd} of them",
    cells=[*ANONYMOUS, *BARE, *VIEWS],
    lines=[
        Line(
            text=f"{text}, {server}",
            key=(f"{cell} {server}", "connect"),
            unit="ms",
            factor=MILLI,
            at_most=at_most,
            of_earlier=True,
        )
        for text, cell, at_most in (
            ("anonymous", "anonymous", 0.75),
            ("a bare ASGI application", "bare", None),
            *((f"{IDLE_VIEW}, {text}", f"views {name}", None) for name, text in HANDLERS.items()),
        )
        for server in SERVERS
    ],
)

RETURN = Row(
    name="return",
    title="{crowd} browsers with sessions come, and come back after a drain",
    cells=RETURNING,
    lines=[
        Line(
            text=f"{text}, {server}",
            key=(f"returning {server}", figure),
            unit=unit,
            factor=factor,
            at_most=at_most,
            of_earlier=at_most is not None and unit != "",
        )
        for text, figure, unit, factor, at_most in (
            ("the first time: CPU each", "connect", "ms", MILLI, 0.6),
            ("the first time: queries each", "queries", "", 1.0, 2.01),
            ("back: CPU each", "return", "ms", MILLI, 0.25),
            ("back: queries each", "queries again", "", 1.0, 0.0),
            ("the end of a stream: CPU each", "drain", "ms", MILLI, None),
        )
        for server in SERVERS
    ],
)

MEMORY = Row(
    name="memory",
    title="memory per open stream: the slope up to {crowd}",
    cells=[*ANONYMOUS, *SESSION],
    lines=[
        *(
            Line(
                text=f"{text}, {server}",
                key=(f"{cell} {server}", figure),
                unit="KiB",
                factor=KIB,
                at_most=at_most,
            )
            for text, cell, figure, limits in (
                ("private, anonymous", "anonymous", "memory", (2.0, 3.0)),
                ("private, with a session", "session", "memory", (2.5, 3.5)),
                ("the kernel's, both ends, anonymous", "anonymous", "kernel", (None, None)),
            )
            for server, at_most in zip(SERVERS, limits, strict=True)
        ),
        *(
            Line(
                text=f"{text}, with a session, {server}",
                key=(f"session {server}", figure),
                unit="",
                at_most=at_most,
            )
            for text, figure, at_most in (
                ("threads that they added", "threads", 16.0),
                ("database connections", "databases", 0.0),
            )
            for server in SERVERS
        ),
    ],
)

IDLE = Row(
    name="idle",
    title="{crowd} streams to which nothing is sent but keep-alives",
    cells=ANONYMOUS,
    lines=[
        Line(
            text=f"of a core, {server}",
            key=(f"anonymous {server}", "idle"),
            unit="%",
            factor=100,
            at_most=0.5,
            of_earlier=True,
        )
        for server in SERVERS
    ],
)

ROWS = (CONNECT, RETURN, MEMORY, IDLE)

"""The cost of a stream: to open it, to keep it, and while nothing happens."""

from benchmarks import processes
from benchmarks.peers import SERVERS, Peer
from benchmarks.table import Bench, Line, Row, Sample, under_each

KIB = 1 / 1024
MILLI = 1e3
IDLE_SECONDS = 2
DATABASE = "db.sqlite3"


def _anonymous(bench: Bench, *, server: str) -> Sample:
    with bench.carillon(server) as peer:
        return _opened(bench, peer, idle=bench.scale.idle)


def _session(bench: Bench, *, server: str) -> Sample:
    cookie = f"Cookie: sessionid={bench.cookie}\r\n"
    with bench.carillon(server) as peer:
        return _opened(bench, peer, path="/events/?topic=user.1", headers=cookie)


def _bare(bench: Bench, *, server: str) -> Sample:
    with bench.site("bare", server) as peer:
        return _opened(bench, peer)


def _opened(
    bench: Bench,
    peer: Peer,
    *,
    path: str | None = None,
    headers: str = "",
    idle: int = IDLE_SECONDS,
) -> Sample:
    pids = peer.pids
    threads = processes.thread_count(pids)
    most, latest = 0, (0, 0)

    def watch() -> None:
        """Threads and database connections, the last time when the most streams were open."""
        nonlocal most, latest
        files = processes.open_files(pids)
        sockets = sum(name.startswith("socket:") for name in files)
        if sockets >= most:
            databases = sum(name.endswith(DATABASE) for name in files)
            most, latest = sockets, (processes.thread_count(pids) - threads, databases)

    connected = bench.referee.connect(
        peer,
        streams=bench.scale.crowd,
        idle=idle,
        path=path,
        headers=headers,
        meanwhile=watch,
    )
    return {
        "connect": connected.cpu,
        "memory": connected.memory,
        "idle": connected.idle,
        "threads": latest[0],
        "databases": latest[1],
    }


ANONYMOUS = under_each("anonymous", _anonymous, 29)
SESSION = under_each("session", _session, 14)
BARE = under_each("bare", _bare, 9, ours=False)

CONNECT = Row(
    name="connect",
    title="CPU per connect, {crowd} of them",
    cells=[*ANONYMOUS, *SESSION, *BARE],
    lines=[
        Line(
            text=f"{text}, {server}",
            key=(f"{cell} {server}", "connect"),
            unit="ms",
            factor=MILLI,
            at_most=at_most,
        )
        for text, cell, limits in (
            ("anonymous", "anonymous", (0.4, 0.6)),
            ("with a session", "session", (0.8, 1.0)),
            ("a bare ASGI application", "bare", (None, None)),
        )
        for server, at_most in zip(SERVERS, limits, strict=True)
    ],
)

MEMORY = Row(
    name="memory",
    title="{crowd} open streams",
    cells=[*ANONYMOUS, *SESSION],
    lines=[
        *(
            Line(
                text=f"memory per stream, {text}, {server}",
                key=(f"{cell} {server}", "memory"),
                unit="KiB",
                factor=KIB,
                at_most=at_most,
            )
            for text, cell in (("anonymous", "anonymous"), ("with a session", "session"))
            for server, at_most in zip(SERVERS, (13.0, 18.0), strict=True)
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
            at_most=2.0,
        )
        for server in SERVERS
    ],
)

ROWS = (CONNECT, MEMORY, IDLE)

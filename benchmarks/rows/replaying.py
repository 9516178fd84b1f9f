"""A storm: every client comes back at once with a cursor, and none causes a Redis command."""

from collections.abc import Iterator
from typing import Any

from redis import Redis

from benchmarks import peers
from benchmarks.batches import ndjson, open_stream, post, read_until
from benchmarks.peers import SERVERS, Peer
from benchmarks.table import Bench, Line, Row, Sample, under_each

BATCH = 500
MISSED = 10
SIZE = 200
PROBES = 20
PATH = "/events/?topic=demo.user.%d"


def _history(users: int, retained: int) -> Iterator[bytes]:
    """The retained log, which ends with the events that each user missed."""
    others = retained - users * MISSED
    numbers = [*(users + number for number in range(others)), *(list(range(users)) * MISSED)]
    for first in range(0, len(numbers), BATCH):
        events = numbers[first : first + BATCH]
        yield ndjson({"topic": f"demo.user.{number}", "data": "x" * SIZE} for number in events)


def _commands(client: "Redis") -> int:
    stats: dict[str, Any] = client.info("commandstats")
    return sum(int(each["calls"]) for each in stats.values())


def _storm(bench: Bench, *, server: str) -> Sample:
    users = bench.scale.crowd
    with (
        peers.redis(bench.folder) as store,
        store.client() as client,
        bench.carillon(server, store=store) as peer,
    ):
        [start] = post(peer, [ndjson([{"topic": "demo.start", "data": "x"}])])
        post(peer, _history(users, bench.scale.retained))
        cursor = {"Last-Event-ID": str(start["cursor"])}
        _check(peer, users, cursor)
        fresh = bench.referee.connect(peer, streams=users, path=PATH, users=users)
        before = _commands(client)
        resumed = bench.referee.connect(
            peer,
            streams=users,
            path=PATH,
            users=users,
            headers="".join(f"{name}: {value}\r\n" for name, value in cursor.items()),
        )
        commands = _commands(client) - before
        _check(peer, users, cursor)
    return {
        "fresh": fresh.seconds,
        **fresh.cpu.each(users).figures("fresh cpu"),
        "resumed": resumed.seconds,
        **resumed.cpu.each(users).figures("resumed cpu"),
        "asked": commands / users,
    }


def _check(peer: Peer, users: int, cursor: dict[str, str]) -> None:
    """Check that a replay is measured: some clients get all the events that they missed."""
    for user in range(0, users, max(1, users // PROBES)):
        with open_stream(peer, PATH % user, **cursor) as stream:
            read_until(stream, b"xxxx", times=MISSED)


STORM = Row(
    name="storm",
    title="{crowd} clients come back at once, each to 10 of {retained} retained events",
    cells=under_each("storm", _storm, 24),
    lines=[
        *(
            Line(
                text=f"{text}, {server}",
                key=(f"storm {server}", f"resumed{figure}"),
                unit=unit,
                factor=factor,
                beside=(f"storm {server}", f"fresh{figure}"),
                beside_text="without a cursor",
                at_most=1.5,
            )
            for text, figure, unit, factor in (
                ("until all are connected", "", "s", 1.0),
                ("CPU per client", " cpu", "ms", 1e3),
            )
            for server in SERVERS
        ),
        *(
            Line(
                text=f"Redis commands per client, {server}",
                key=(f"storm {server}", "asked"),
                unit="",
                at_most=0.05,
            )
            for server in SERVERS
        ),
    ],
)

ROWS = (STORM,)

"""Several processes on one port: the gain by a second one."""

import os

from benchmarks.peers import SERVERS
from benchmarks.rows.fanout import CROWD, sample
from benchmarks.table import Bench, Line, Row, Sample, under_each

# The referee uses one of them, and Redis a little.
CORES_NEEDED = 3


def _two(bench: Bench, *, server: str) -> Sample:
    scale = bench.scale
    with bench.carillon(server, workers=2) as peer:
        return sample(
            bench.referee.deliver(peer, streams=scale.crowd, events=scale.crowd_fanouts, rate=1)
        )


def _bound(limit: float) -> float | None:
    """No bound without a core for the second process."""
    return limit if (os.cpu_count() or 1) >= CORES_NEEDED else None


WORKERS = Row(
    name="workers",
    title="two processes beside one, {crowd} streams"
    + ("" if _bound(1) else " (not judged: that takes three cores or more)"),
    cells=[*CROWD, *under_each("two", _two, 17)],
    lines=[
        Line(
            text=f"{text}, {server}",
            key=(f"two {server}", figure),
            unit=unit,
            factor=factor,
            beside=(f"crowd {server}", figure),
            beside_text="one process",
            at_least=at_least,
            at_most=at_most,
        )
        for text, figure, unit, factor, at_least, at_most in (
            ("connects per second", "connects", "/s", 1.0, _bound(1.8), None),
            ("one event to all of them", "p99", "ms", 1e3, None, _bound(0.6)),
        )
        for server in SERVERS
    ],
)

ROWS = (WORKERS,)

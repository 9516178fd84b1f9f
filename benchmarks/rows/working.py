"""Several processes on one port: what a second one brings."""

import os
from functools import partial

from benchmarks.peers import SERVERS
from benchmarks.table import Bench, Cell, Line, Row, Sample

# The referee takes one, and Redis a little.
CORES = 3


def _workers(bench: Bench, server: str, workers: int) -> Sample:
    with bench.carillon(server, workers=workers) as peer:
        told = bench.referee.deliver(
            peer, streams=bench.scale.crowd, events=bench.scale.crowd_fanouts, rate=1
        )
    return {"connects": told.streams.opened / told.streams.seconds, "fanout": told.p99}


def _bound(limit: float) -> float | None:
    """Where there is no core for the second process there is nothing to expect of it."""
    return limit if (os.cpu_count() or 1) >= CORES else None


WORKERS = Row(
    name="workers",
    title="two processes beside one, {crowd} streams"
    + ("" if _bound(1) else " (not judged: that takes three cores or more)"),
    cells=[
        Cell(
            name=f"workers {workers} {server}",
            measure=partial(_workers, server=server, workers=workers),
            seconds=20,
        )
        for server in SERVERS
        for workers in (1, 2)
    ],
    lines=[
        Line(
            text=f"{text}, {server}",
            key=(f"workers 2 {server}", figure),
            unit=unit,
            factor=factor,
            beside=(f"workers 1 {server}", figure),
            beside_text="one process",
            at_least=at_least,
            at_most=at_most,
        )
        for text, figure, unit, factor, at_least, at_most in (
            ("connects per second", "connects", "/s", 1.0, _bound(1.8), None),
            ("one event to all of them", "fanout", "ms", 1e3, None, _bound(0.6)),
        )
        for server in SERVERS
    ],
)

ROWS = (WORKERS,)

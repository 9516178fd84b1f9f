"""Many events at once, and many events a second for a minute."""

from benchmarks import peers
from benchmarks.batches import batching
from benchmarks.peers import SERVERS, Peer
from benchmarks.rows.fanout import MICRO, nchan_cell, sample
from benchmarks.table import Bench, Line, Row, Sample, under_each

# The batches of a publisher with many events.
BATCH_EVENTS = 500
BATCH_SECONDS = 0.02


def _separate(bench: Bench, peer: Peer, *, port: int | None = None) -> Sample:
    """Publish as fast as the requests are answered."""
    scale = bench.scale
    return sample(
        bench.referee.deliver(
            peer, streams=scale.many, events=scale.burst, rate=0, settle=2, publish_port=port
        )
    )


def _one_by_one(bench: Bench, *, server: str) -> Sample:
    with bench.carillon(server) as peer:
        return _separate(bench, peer)


def _one_by_one_nchan(bench: Bench, *, server: str) -> Sample:
    with peers.nchan(bench.folder) as peer:
        return _separate(bench, peer)


def _one_batch(bench: Bench, *, server: str) -> Sample:
    with (
        bench.carillon(server) as peer,
        batching(peer, size=bench.scale.burst, pause=5) as port,
    ):
        return _separate(bench, peer, port=port)


def _steady(bench: Bench, *, server: str) -> Sample:
    scale = bench.scale
    with (
        bench.carillon(server) as peer,
        batching(peer, size=BATCH_EVENTS, pause=BATCH_SECONDS) as port,
    ):
        return sample(
            bench.referee.deliver(
                peer,
                streams=scale.steady_streams,
                events=scale.steady_rate * scale.steady,
                rate=scale.steady_rate,
                publish_port=port,
            )
        )


BURSTS = Row(
    name="bursts",
    title="{burst} events at once to {many} subscribers: CPU per delivery",
    cells=[
        *under_each("batch", _one_batch, 8),
        nchan_cell("burst", _one_by_one_nchan, 8),
        *under_each("burst", _one_by_one, 9),
    ],
    lines=[
        Line(
            text=f"{text}, {server}",
            key=(f"{cell} {server}", "delivery"),
            unit="µs",
            factor=MICRO,
            beside=("burst nchan", "delivery"),
            beside_text="nchan",
            at_most=at_most,
        )
        for text, cell, at_most in (
            ("published as one batch", "batch", 0.05),
            ("published one by one", "burst", 1.0),
        )
        for server in SERVERS
    ],
)

STEADY = Row(
    name="steady",
    title="{steady_rate} events a second to {steady_streams} subscribers for {steady} s",
    cells=under_each("steady", _steady, 66),
    lines=[
        Line(
            text=f"{text}, {server}",
            key=(f"steady {server}", figure),
            unit=unit,
            factor=factor,
            at_most=at_most,
        )
        for text, figure, unit, factor, at_most in (
            ("deliveries per second", "rate", "/s", 1.0, None),
            ("CPU per delivery", "delivery", "µs", MICRO, None),
            ("latency, 99 of 100", "p99", "ms", 1e3, 500.0),
        )
        for server in SERVERS
    ],
)

ROWS = (BURSTS, STEADY)

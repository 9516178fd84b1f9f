"""The cost of delivering one event to its subscribers, on one topic or on one for each."""

from functools import partial

from benchmarks import peers
from benchmarks.peers import SERVERS, Peer
from benchmarks.referee import Delivered
from benchmarks.table import Bench, Cell, Line, Measure, Row, Sample, under_each

MICRO = 1e6
KIB = 1 / 1024
OWN_AND_COMMON_TOPIC = "/events/?topic=demo.user.%d&topic=demo.t"


def sample(delivered: Delivered) -> Sample:
    return {
        **delivered.cpu.figures("delivery"),
        "p99": delivered.p99,
        "rate": delivered.got / delivered.seconds,
        "connects": delivered.streams.opened / delivered.streams.seconds,
        "memory": delivered.streams.memory,
    }


def nchan_cell(name: str, measure: Measure, seconds: float) -> Cell:
    return Cell(
        name=f"{name} nchan",
        measure=partial(measure, server="nchan"),
        seconds=seconds,
        ours=False,
        missing=peers.nchan_is_missing,
    )


def _to_many(bench: Bench, peer: Peer) -> Sample:
    scale = bench.scale
    return sample(
        bench.referee.deliver(peer, streams=scale.many, events=scale.fanouts, rate=scale.rate)
    )


def _to_a_crowd(bench: Bench, peer: Peer) -> Sample:
    scale = bench.scale
    return sample(
        bench.referee.deliver(peer, streams=scale.crowd, events=scale.crowd_fanouts, rate=1)
    )


def _to_few(bench: Bench, peer: Peer) -> Sample:
    scale = bench.scale
    return sample(
        bench.referee.deliver(
            peer, streams=scale.few, events=scale.fanouts, rate=scale.rate, settle=3
        )
    )


def _many(bench: Bench, *, server: str) -> Sample:
    with bench.carillon(server) as peer:
        return _to_many(bench, peer)


def _many_nchan(bench: Bench, *, server: str) -> Sample:
    with peers.nchan(bench.folder) as peer:
        return _to_many(bench, peer)


def _crowd(bench: Bench, *, server: str) -> Sample:
    with bench.carillon(server) as peer:
        return _to_a_crowd(bench, peer)


def _crowd_nchan(bench: Bench, *, server: str) -> Sample:
    with peers.nchan(bench.folder) as peer:
        return _to_a_crowd(bench, peer)


def _few(bench: Bench, *, server: str) -> Sample:
    with bench.carillon(server) as peer:
        return _to_few(bench, peer)


def _eventstream(bench: Bench, *, server: str) -> Sample:
    with bench.site("eventstream", server) as peer:
        return _to_few(bench, peer)


def _migrated(bench: Bench, *, server: str) -> Sample:
    with bench.site("migrated", server) as peer:
        return _to_few(bench, peer)


def _fastapi(bench: Bench) -> Sample:
    with bench.site("fastapi", "uvicorn") as peer:
        return _to_few(bench, peer)


def _audiences(bench: Bench, *, server: str) -> Sample:
    streams = bench.scale.crowd
    with bench.carillon(server) as peer:
        return sample(
            bench.referee.deliver(
                peer,
                streams=streams,
                events=bench.scale.crowd_fanouts,
                rate=1,
                path=OWN_AND_COMMON_TOPIC,
                everyone_of=streams,
            )
        )


CROWD = under_each("crowd", _crowd, 24, compared=True)

DELIVER = Row(
    name="deliver",
    title="CPU per delivery, one event to all subscribers",
    cells=[
        *under_each("many", _many, 10, compared=True),
        nchan_cell("many", _many_nchan, 9),
        *CROWD,
        nchan_cell("crowd", _crowd_nchan, 18),
    ],
    lines=[
        *(
            Line(
                text=f"to {{{cell}}} subscribers, {server}",
                key=(f"{cell} {server}", "delivery"),
                unit="µs",
                factor=MICRO,
                beside=(f"{cell} nchan", "delivery"),
                beside_text="nchan",
                at_most=at_most,
            )
            for cell, at_most in (("many", 0.9), ("crowd", 0.75))
            for server in SERVERS
        ),
        *(
            Line(
                text=f"to {{crowd}} subscribers, the user time alone, {server}",
                key=(f"crowd {server}", "delivery user"),
                unit="µs",
                factor=MICRO,
                at_most=1.5,
            )
            for server in SERVERS
        ),
    ],
)

FEW = Row(
    name="few",
    title="CPU per delivery, one event to {few} subscribers, beside what Python teams pick",
    cells=[
        *under_each("few", _few, 12),
        *under_each("eventstream", _eventstream, 16, ours=False),
        *under_each("migrated", _migrated, 12),
        Cell(name="fastapi uvicorn", measure=_fastapi, seconds=12, ours=False),
    ],
    lines=[
        Line(
            text=f"{text}, {server}",
            key=(f"{cell} {server}", "delivery"),
            unit="µs",
            factor=MICRO,
            beside=(beside.format(server), "delivery"),
            beside_text=beside_text,
            at_most=at_most,
        )
        for text, cell, beside, beside_text, at_most in (
            ("Carillon", "few", "eventstream {}", "django-eventstream", 0.12),
            ("its API on Carillon", "migrated", "eventstream {}", "django-eventstream", 0.12),
            ("Carillon", "few", "fastapi uvicorn", "FastAPI", None),
        )
        for server in SERVERS
    ],
)

TOPICS = Row(
    name="topics",
    title="{crowd} streams, each of its own topic and a common one: an event to the common one",
    cells=[*CROWD, *under_each("audiences", _audiences, 17)],
    lines=[
        Line(
            text=f"{text}, {server}",
            key=(f"audiences {server}", figure),
            unit=unit,
            factor=factor,
            beside=(f"crowd {server}", figure),
            beside_text="one topic",
            at_most=1.1,
        )
        for text, figure, unit, factor in (
            ("CPU per delivery", "delivery", "µs", MICRO),
            ("memory per stream", "memory", "KiB", KIB),
        )
        for server in SERVERS
    ],
)

ROWS = (DELIVER, FEW, TOPICS)

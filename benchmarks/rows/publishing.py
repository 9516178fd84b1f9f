"""The cost of publishing, and of reading events without a subscriber in the process."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic

from benchmarks import peers, probe, processes
from benchmarks.batches import ndjson, open_stream, post, read_until
from benchmarks.peers import SERVERS, Peer
from benchmarks.rows.connecting import HANDLERS, IDLE_VIEW, VIEWS
from benchmarks.table import Bench, Line, Row, Sample, under_each

BATCH = 500
SIZE = 200
PUBLISHERS = 2
TOGETHER = 16
END = b"the-end"
END_PATH = "/events/?topic=demo.end"


def _single(bench: Bench, *, server: str) -> Sample:
    """One subscriber, so that the clock stops when the last event has been delivered."""
    return _posted(bench, server, publishers=1)


def _together(bench: Bench, *, server: str) -> Sample:
    return _posted(bench, server, publishers=TOGETHER)


def _posted(bench: Bench, server: str, *, publishers: int) -> Sample:
    events = bench.scale.posts
    with bench.carillon(server) as peer:
        bench.referee.deliver(peer, streams=1, events=events // 10, rate=0, publishers=publishers)
        delivered = bench.referee.deliver(
            peer, streams=1, events=events, rate=0, publishers=publishers
        )
    return {
        **delivered.cpu.figures("post"),
        "posts": delivered.got / delivered.seconds,
    }


def _batches(count: int, topic: str) -> list[bytes]:
    batch = ndjson({"topic": topic, "data": "x" * SIZE} for _ in range(BATCH))
    return [batch] * max(1, count // BATCH)


def _finish(peer: Peer) -> None:
    post(peer, [ndjson([{"topic": "demo.end", "data": END.decode()}])])


def _batched(bench: Bench, *, server: str) -> Sample:
    """Several publishers, until the process has read all their batches back from the log."""
    batches = _batches(bench.scale.batched, "demo.t")
    share = max(1, len(batches) // PUBLISHERS)
    with (
        peers.redis(bench.folder) as store,
        bench.carillon(server, store=store) as peer,
        open_stream(peer, END_PATH) as end,
        ThreadPoolExecutor(PUBLISHERS) as pool,
    ):
        post(peer, batches[:2])
        started, cpu = monotonic(), processes.cpu(peer.pids)
        redis_cpu = processes.cpu([store.pid])
        list(pool.map(partial(post, peer), [batches[:share]] * PUBLISHERS))
        _finish(peer)
        read_until(end, END)
        events = share * PUBLISHERS * BATCH
        return {
            "rate": events / (monotonic() - started),
            **(processes.cpu(peer.pids) - cpu).each(events).figures("event"),
            **(processes.cpu([store.pid]) - redis_cpu).each(events).figures("redis"),
        }


def _foreign(bench: Bench, *, server: str) -> Sample:
    """The process reads events from another process, and has no subscriber for them."""
    batches = _batches(bench.scale.retained, "demo.nobody")
    with (
        peers.redis(bench.folder) as store,
        bench.carillon("uvicorn", store=store) as elsewhere,
        bench.carillon(server, store=store) as peer,
        open_stream(peer, END_PATH) as end,
    ):
        pids = peer.pids
        probe.collect(bench.folder, pids)
        cpu, memory = processes.cpu(pids), processes.private_bytes(pids)
        post(elsewhere, batches)
        _finish(elsewhere)
        read_until(end, END)
        events = len(batches) * BATCH
        used = processes.cpu(pids) - cpu
        probe.collect(bench.folder, pids)
        return {
            **used.each(events).figures("event"),
            "memory": (processes.private_bytes(pids) - memory) / events,
        }


SINGLE = under_each("single", _single, 10, compared=True)
TOGETHER_CELLS = under_each("together", _together, 7, compared=True)
BATCHED = under_each("batched", _batched, 7, compared=True)
FOREIGN = under_each("foreign", _foreign, 12, compared=True)

PUBLISH = Row(
    name="publish",
    title="publishing by POST of one event, one process, which tails what it publishes",
    cells=[*SINGLE, *TOGETHER_CELLS, *BATCHED, *VIEWS],
    lines=[
        Line(
            text=f"{text}, {server}",
            key=(f"{cell} {server}", figure),
            unit=unit,
            factor=factor,
            at_most=at_most,
            at_least=at_least,
            of_earlier=True,
        )
        for text, cell, figure, unit, factor, at_most, at_least in (
            ("CPU per request, one publisher", "single", "post", "ms", 1e3, 0.6, None),
            ("requests per second, one publisher", "single", "posts", "/s", 1.0, None, None),
            ("CPU per request, 16 at once", "together", "post", "ms", 1e3, 0.35, None),
            ("requests per second, 16 at once", "together", "posts", "/s", 1.0, None, None),
            ("NDJSON in batches of 500: events per second", "batched", "rate", "/s", 1, None, 1.6),
            ("NDJSON: CPU per event", "batched", "event", "µs", 1e6, None, None),
            ("NDJSON: CPU of Redis per event", "batched", "redis", "µs", 1e6, None, None),
            *(
                (f"{IDLE_VIEW}, {text}", f"views {name}", "post", "ms", 1e3, None, None)
                for name, text in HANDLERS.items()
            ),
        )
        for server in SERVERS
    ],
)

TAIL = Row(
    name="tail",
    title="reading an event of 200 bytes that has no subscriber in the process",
    cells=FOREIGN,
    lines=[
        Line(
            text=f"{text}, {server}",
            key=(f"foreign {server}", figure),
            unit=unit,
            factor=factor,
            at_most=at_most,
            of_earlier=True,
        )
        for text, figure, unit, factor, at_most in (
            ("CPU", "event", "µs", 1e6, 0.5),
            ("memory in the window", "memory", "bytes", 1.0, 1.02),
        )
        for server in SERVERS
    ],
)

ROWS = (PUBLISH, TAIL)

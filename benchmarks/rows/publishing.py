"""The cost of publishing, and of reading events without a subscriber in the process."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic

from benchmarks import peers, processes
from benchmarks.batches import ndjson, open_stream, post, read_until
from benchmarks.peers import SERVERS, Peer
from benchmarks.table import Bench, Line, Row, Sample, under_each

BATCH = 500
SIZE = 200
PUBLISHERS = 2
END = b"the-end"
END_PATH = "/events/?topic=demo.end"


def _single(bench: Bench, *, server: str) -> Sample:
    """One subscriber, so that the clock stops when the last event has been delivered."""
    events = bench.scale.posts
    with peers.redis(bench.folder) as store, peers.carillon(bench.folder, store, server) as peer:
        bench.referee.deliver(peer, streams=1, events=events // 10, rate=0)
        delivered = bench.referee.deliver(peer, streams=1, events=events, rate=0)
    return {"post": delivered.cpu, "posts": delivered.got / delivered.seconds}


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
        peers.carillon(bench.folder, store, server) as peer,
        open_stream(peer, END_PATH) as end,
        ThreadPoolExecutor(PUBLISHERS) as pool,
    ):
        post(peer, batches[:2])
        started, cpu = monotonic(), processes.cpu_seconds(peer.pids)
        redis_cpu = processes.cpu_seconds([store.pid])
        list(pool.map(partial(post, peer), [batches[:share]] * PUBLISHERS))
        _finish(peer)
        read_until(end, END)
        events = share * PUBLISHERS * BATCH
        return {
            "rate": events / (monotonic() - started),
            "event": (processes.cpu_seconds(peer.pids) - cpu) / events,
            "redis": (processes.cpu_seconds([store.pid]) - redis_cpu) / events,
        }


def _foreign(bench: Bench, *, server: str) -> Sample:
    """The process reads events from another process, and has no subscriber for them."""
    batches = _batches(bench.scale.retained, "demo.nobody")
    with (
        peers.redis(bench.folder) as store,
        peers.carillon(bench.folder, store, "uvicorn") as elsewhere,
        peers.carillon(bench.folder, store, server) as peer,
        open_stream(peer, END_PATH) as end,
    ):
        pids = peer.pids
        cpu, memory = processes.cpu_seconds(pids), processes.memory_bytes(pids)
        post(elsewhere, batches)
        _finish(elsewhere)
        read_until(end, END)
        events = len(batches) * BATCH
        return {
            "event": (processes.cpu_seconds(pids) - cpu) / events,
            "memory": (processes.memory_bytes(pids) - memory) / events,
        }


SINGLE = under_each("single", _single, 7)
BATCHED = under_each("batched", _batched, 6)
FOREIGN = under_each("foreign", _foreign, 11)

PUBLISH = Row(
    name="publish",
    title="publishing by POST, one process, which tails what it publishes",
    cells=[*SINGLE, *BATCHED],
    lines=[
        Line(
            text=f"{text}, {server}",
            key=(f"{cell} {server}", figure),
            unit=unit,
            factor=factor,
            at_most=at_most,
            at_least=at_least,
        )
        for text, cell, figure, unit, factor, at_most, at_least in (
            ("CPU per request, one event each", "single", "post", "ms", 1e3, 0.7, None),
            ("requests per second, one after the other", "single", "posts", "/s", 1.0, None, None),
            ("NDJSON in batches of 500: events per second", "batched", "rate", "/s", 1, None, 25e3),
            ("NDJSON: CPU per event", "batched", "event", "µs", 1e6, None, None),
            ("NDJSON: CPU of Redis per event", "batched", "redis", "µs", 1e6, None, None),
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
        )
        for text, figure, unit, factor, at_most in (
            ("CPU", "event", "µs", 1e6, 4.0),
            ("memory in the window", "memory", "bytes", 1.0, 500.0),
        )
        for server in SERVERS
    ],
)

ROWS = (PUBLISH, TAIL)

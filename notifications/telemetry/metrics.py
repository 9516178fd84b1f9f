"""What `/metrics` tells, as prometheus-client knows it. Only where that is installed.

What is counted while events flow is plain numbers (`tallies.py`); once a second they come here,
and with them how things are. Where several processes serve, prometheus-client keeps their numbers
in files (`PROMETHEUS_MULTIPROC_DIR`, which `carillon serve` sets), so that any of them answers for
all, and for what those who have died had counted.
"""

import threading
from collections import Counter as Counts
from collections.abc import Mapping

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from notifications.telemetry.counters import process_counters

OPENED = Counter("carillon_streams_opened", "Streams that were opened.")
CLOSED = Counter("carillon_streams_closed", "Streams that ended, by reason.", ["reason"])
REFUSED = Counter("carillon_streams_refused", "Streams that could not begin.", ["reason"])
RESETS = Counter("carillon_stream_resets", "Times a stream was told to reset.", ["reason"])
PUBLISHED = Counter("carillon_events_published", "Events that the processes here had kept.")
READ = Counter("carillon_events_read", "Events that came from the log: each, in every process.")
DELIVERED = Counter("carillon_events_delivered", "Events times the streams that they went to.")
PROBLEMS = Counter("carillon_problems", "Errors that were answered, by code.", ["code"])
RECONNECTS = Counter("carillon_log_reconnects", "Times the log was away, and came back.")
LATENCY = Histogram(
    "carillon_delivery_seconds",
    "From an event's time in the log until the last stream of a process had been written to.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
STREAMS = Gauge("carillon_streams", "Open streams.", multiprocess_mode="livesum")
SLOW = Gauge(
    "carillon_streams_slow",
    "Streams whose client has not taken all it was sent.",
    multiprocess_mode="livesum",
)
WINDOW_BYTES = Gauge(
    "carillon_window_bytes",
    "Bytes of history in memory, over all processes.",
    multiprocess_mode="livesum",
)
WINDOW_EVENTS = Gauge(
    "carillon_window_events",
    "Events of history in the process that has the most.",
    multiprocess_mode="livemax",
)
WINDOW_SPAN = Gauge(
    "carillon_window_span_seconds",
    "How far back history reaches, in the process where that is least.",
    multiprocess_mode="livemin",
)
TAIL_LAG = Gauge(
    "carillon_tail_lag_seconds",
    "For how long the process that is furthest behind has not had all that is in the log.",
    multiprocess_mode="livemax",
)
OUTBOX_EVENTS = Gauge(
    "carillon_outbox_events",
    "Events that wait in an outbox.",
    ["database"],
    multiprocess_mode="livemostrecent",
)
OUTBOX_AGE = Gauge(
    "carillon_outbox_age_seconds",
    "For how long the oldest of them has waited.",
    ["database"],
    multiprocess_mode="livemostrecent",
)

BY_LABEL = ((CLOSED, "closed"), (REFUSED, "refused"), (RESETS, "resets"), (PROBLEMS, "problems"))
PLAIN = (
    *((OPENED, "opened"), (PUBLISHED, "published"), (READ, "read")),
    *((DELIVERED, "delivered"), (RECONNECTS, "reconnects")),
)

_told: Counts[tuple[str, str]] = Counts()
_lock = threading.Lock()


def count() -> None:
    """Take over what the tally of this process has counted since the last time."""
    with _lock:
        for counter, name in PLAIN:
            _grow(counter, (name, ""), getattr(process_counters, name))
        for counter, name in BY_LABEL:
            by_label: Mapping[str, int] = getattr(process_counters, name)
            for label, value in list(by_label.items()):
                _grow(counter.labels(str(label)), (name, label), value)
        while process_counters.latencies:
            LATENCY.observe(process_counters.latencies.popleft())


def _grow(counter: Counter, name: tuple[str, str], value: int) -> None:
    new = value - _told[name]
    if new:
        counter.inc(new)
        _told[name] = value


def exposition(accept: str) -> tuple[bytes, str]:
    """All of it, of every process, in the format that is asked for; and what that is."""
    encode, content_type = choose_encoder(accept)
    return encode(_registry()), content_type


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    try:
        MultiProcessCollector(registry)
    except ValueError:  # there is one process
        return REGISTRY
    return registry

"""The metrics of `/metrics`. This module needs prometheus-client, which is optional.

The hot path counts in plain numbers (`counters.py`); once a second the exporter adds them to these
metrics, and sets the gauges. Where several processes serve, prometheus-client keeps their numbers
in files (`PROMETHEUS_MULTIPROC_DIR`, which `carillon serve` sets), so that any process answers for
all, and includes the counts of processes that have ended.
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
REFUSED = Counter("carillon_streams_refused", "Streams that were not let in.", ["reason"])
RESETS = Counter("carillon_stream_resets", "Resets that streams got, by reason.", ["reason"])
PUBLISHED = Counter("carillon_events_published", "Events that these processes published.")
READ = Counter("carillon_events_read", "Events that came from the log, in each process.")
DELIVERED = Counter("carillon_events_delivered", "Events, times the streams that got them.")
PROBLEMS = Counter("carillon_problems", "Error responses, by code.", ["code"])
RECONNECTS = Counter("carillon_log_reconnects", "Times the log could be reached again.")
LATENCY = Histogram(
    "carillon_delivery_seconds",
    "From an event's time in the log until the last stream of a process had it.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
STREAMS = Gauge("carillon_streams", "Open streams.", multiprocess_mode="livesum")
SLOW = Gauge(
    "carillon_streams_slow",
    "Streams whose client has not accepted all that was sent to it.",
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
    "How far back history reaches, in the process with the shortest history.",
    multiprocess_mode="livemin",
)
TAIL_LAG = Gauge(
    "carillon_tail_lag_seconds",
    "How long the slowest process has not had the whole log.",
    multiprocess_mode="livemax",
)
OUTBOX_EVENTS = Gauge(
    "carillon_outbox_events",
    "Events waiting in an outbox.",
    ["database"],
    multiprocess_mode="livemostrecent",
)
OUTBOX_AGE = Gauge(
    "carillon_outbox_age_seconds",
    "How long the oldest event in an outbox has waited.",
    ["database"],
    multiprocess_mode="livemostrecent",
)

LABELLED_COUNTERS = (
    (CLOSED, "closed"),
    (REFUSED, "refused"),
    (RESETS, "resets"),
    (PROBLEMS, "problems"),
)
PLAIN_COUNTERS = (
    (OPENED, "opened"),
    (PUBLISHED, "published"),
    (READ, "read"),
    (DELIVERED, "delivered"),
    (RECONNECTS, "reconnects"),
)

_exported: Counts[tuple[str, str]] = Counts()
_lock = threading.Lock()


def export_counters() -> None:
    """Add what this process has counted since the last call to its metrics."""
    with _lock:
        for counter, name in PLAIN_COUNTERS:
            _grow(counter, (name, ""), getattr(process_counters, name))
        for counter, name in LABELLED_COUNTERS:
            by_label: Mapping[str, int] = getattr(process_counters, name)
            for label, value in list(by_label.items()):
                _grow(counter.labels(str(label)), (name, label), value)
        while process_counters.latencies:
            LATENCY.observe(process_counters.latencies.popleft())


def _grow(counter: Counter, name: tuple[str, str], value: int) -> None:
    new = value - _exported[name]
    if new:
        counter.inc(new)
        _exported[name] = value


def exposition(accept: str) -> tuple[bytes, str]:
    """The metrics of every process, in the format of an `Accept` header, and their content type."""
    encode, content_type = choose_encoder(accept)
    return encode(_registry()), content_type


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    try:
        MultiProcessCollector(registry)
    except ValueError:  # there is only one process
        return REGISTRY
    return registry

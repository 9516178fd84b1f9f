"""Carillon's metrics. This module needs prometheus-client, which is optional.

The hot path counts in plain numbers (`counters.py`); once a second the exporter adds them to these
metrics, and sets the gauges. The workers of `carillon serve` exchange these metrics, and no others,
by `snapshots.py`, so that any worker answers for all, and for workers that have ended. The site's
registry stays as it is. Under other servers with several processes, prometheus-client exchanges all
metrics if the operator sets `PROMETHEUS_MULTIPROC_DIR`.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

from notifications.telemetry.counters import process_counters

OPENED = Counter("carillon_streams_opened", "Streams that were opened.")
CONTINUED = Counter(
    "carillon_streams_continued",
    "Streams that went on after an interruption, without a query of the database.",
)
ASKED = Counter(
    "carillon_streams_asked",
    "Streams of sessions for which the database was asked, since none could be continued.",
)
CLOSED = Counter("carillon_streams_closed", "Streams that ended, by reason.", ["reason"])
REFUSED = Counter("carillon_streams_refused", "Streams that were not let in.", ["reason"])
RESETS = Counter("carillon_stream_resets", "Resets that streams got, by reason.", ["reason"])
PUBLISHED = Counter("carillon_events_published", "Events that these processes published.")
READ = Counter("carillon_events_read", "Events that came from the log, in each process.")
DELIVERED = Counter("carillon_events_delivered", "Events, times the streams that got them.")
PROBLEMS = Counter("carillon_problems", "Error responses, by code.", ["code"])
RECONNECTS = Counter("carillon_log_reconnects", "Times the log could be reached again.")
CPU = Counter("carillon_process_cpu_seconds", "Processor time that these processes used.")
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

STREAMS_LIMIT = Gauge(
    "carillon_streams_limit",
    "Streams that these processes accept at most.",
    multiprocess_mode="livesum",
)
MEMORY = Gauge(
    "carillon_process_resident_bytes",
    "Memory of these processes.",
    multiprocess_mode="livesum",
)
DESCRIPTORS = Gauge(
    "carillon_process_descriptors",
    "Open descriptors of the process that has the most.",
    multiprocess_mode="livemax",
)
DESCRIPTORS_LIMIT = Gauge(
    "carillon_process_descriptors_limit",
    "Descriptors that a process may open.",
    multiprocess_mode="livemin",
)

LABELLED_COUNTERS = (
    (CLOSED, "closed"),
    (REFUSED, "refused"),
    (RESETS, "resets"),
    (PROBLEMS, "problems"),
)
PLAIN_COUNTERS = (
    (OPENED, "opened"),
    (CONTINUED, "continued"),
    (ASKED, "asked"),
    (PUBLISHED, "published"),
    (READ, "read"),
    (DELIVERED, "delivered"),
    (RECONNECTS, "reconnects"),
)

_exported: defaultdict[tuple[str, str], float] = defaultdict(float)
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
        _grow(CPU, ("cpu", ""), time.process_time())
        while process_counters.latencies:
            LATENCY.observe(process_counters.latencies.popleft())


def _grow(counter: Counter, name: tuple[str, str], value: float) -> None:
    new = value - _exported[name]
    if new:
        counter.inc(new)
        _exported[name] = value

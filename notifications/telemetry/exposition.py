"""What `/metrics` answers. This module needs prometheus-client, which is optional.

A worker of `carillon serve` gathers Carillon's own metrics from all workers. The rest of the
registry is the site's, and stays as it is: of one worker among several, its counters would go down
from one request to the next.
"""

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from notifications.telemetry import metrics
from notifications.telemetry.snapshots import Samples, Snapshots, added

OWN = (
    *(metrics.OPENED, metrics.CLOSED, metrics.REFUSED, metrics.RESETS, metrics.PUBLISHED),
    *(metrics.READ, metrics.DELIVERED, metrics.PROBLEMS, metrics.RECONNECTS, metrics.LATENCY),
    *(metrics.CONTINUED, metrics.ASKED),
    *(metrics.STREAMS, metrics.SLOW, metrics.WINDOW_BYTES, metrics.WINDOW_EVENTS),
    *(metrics.WINDOW_SPAN, metrics.TAIL_LAG, metrics.OUTBOX_EVENTS, metrics.OUTBOX_AGE),
    *(metrics.CPU, metrics.MEMORY, metrics.DESCRIPTORS, metrics.DESCRIPTORS_LIMIT),
    metrics.STREAMS_LIMIT,
)
COMBINED: dict[str, Callable[[Iterable[float]], float]] = {
    "carillon_streams": sum,
    "carillon_streams_slow": sum,
    "carillon_window_bytes": sum,
    "carillon_window_events": max,
    "carillon_window_span_seconds": min,
    "carillon_tail_lag_seconds": max,
    "carillon_streams_limit": sum,
    "carillon_process_resident_bytes": sum,
    "carillon_process_descriptors": max,
    "carillon_process_descriptors_limit": min,
}
"""How the gauges of several workers become one. Of the others, the worker that is asked has just
measured the value."""
GAUGE = "gauge"
CREATED = "_created"
"""When a process created a counter: nothing that could be gathered."""


class SharedMetrics(Collector):
    """Carillon's metrics of all workers."""

    def __init__(self, snapshots: Snapshots, region: int) -> None:
        self._snapshots = snapshots
        self._region = region
        self._writer = secrets.randbits(63) | 1
        self._lock = threading.Lock()

    def write(self) -> None:
        """Let the other workers read the metrics of this one."""
        counts: Samples = []
        gauges: Samples = []
        for family in families():
            samples = gauges if family.type == GAUGE else counts
            samples += [
                (sample.name, dict(sample.labels), sample.value)
                for sample in family.samples
                if not sample.name.endswith(CREATED)
            ]
        with self._lock:
            self._snapshots.write(self._region, self._writer, counts, gauges)

    def collect(self) -> Iterator[Metric]:
        self.write()
        snapshots = self._snapshots.read_all()
        counts = added(snapshots)
        gauges: dict[str, list[float]] = {}
        for snapshot in snapshots:
            for name, _, value in snapshot.gauges:
                gauges.setdefault(name, []).append(value)
        own = {family.name: family for family in families()}
        for family in own.values():
            yield _gathered(family, counts, gauges)
        yield from (other for other in _site_metrics() if other.name not in own)


def families() -> Iterator[Metric]:
    for metric in OWN:
        yield from metric.collect()


def _gathered(family: Metric, counts: Samples, gauges: dict[str, list[float]]) -> Metric:
    gathered = Metric(family.name, family.documentation, family.type)
    if family.type == GAUGE:
        for sample in family.samples:
            combine = COMBINED.get(sample.name)
            values = gauges.get(sample.name)
            value = combine(values) if combine and values else sample.value
            gathered.add_sample(sample.name, sample.labels, value)
        return gathered
    suffixes = ("_bucket", "_count", "_sum") if family.type == "histogram" else ("_total",)
    names = {family.name + suffix for suffix in suffixes}
    for name, labels, value in counts:
        if name in names:
            gathered.add_sample(name, labels, value)
    return gathered


def _site_metrics() -> Iterable[Metric]:
    """The metrics that prometheus-client itself exchanges, if the operator wants that."""
    collected: Iterable[Metric] = ()
    with suppress(ValueError):  # `PROMETHEUS_MULTIPROC_DIR` is not set
        collected = MultiProcessCollector(CollectorRegistry()).collect()
    return collected


_shared: list[SharedMetrics] = []
"""As the registry, one for each process; none where the process is not a worker."""


def share(snapshots: Snapshots, region: int) -> None:
    """From now on this process is one of several workers."""
    _shared[:] = [SharedMetrics(snapshots, region)]


def write() -> None:
    """Let the other workers, if there are any, read the metrics of this one."""
    for shared in _shared:
        shared.write()


def exposition(accept: str) -> tuple[bytes, str]:
    """The metrics, in the format of an `Accept` header, and their content type."""
    encode, content_type = choose_encoder(accept)
    return encode(_registry()), content_type


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    for shared in _shared:
        registry.register(shared)
        return registry
    with suppress(ValueError):  # the operator has not set `PROMETHEUS_MULTIPROC_DIR`
        MultiProcessCollector(registry)
        return registry
    return REGISTRY

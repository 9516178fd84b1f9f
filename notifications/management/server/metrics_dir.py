"""The directory in which all workers keep their metrics, so that each can answer for all.

The files in it are those of prometheus-client's multi-process mode, which prometheus-client takes
from the environment when it is imported.
"""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from tempfile import TemporaryDirectory

from notifications.hub import metrics_exporter

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

type MarkAlive = Callable[[Collection[int]], None]
"""Takes the process ids of the workers that are alive, and is called again and again."""


@contextmanager
def multiprocess_metrics() -> Iterator[MarkAlive]:
    """Set the directory up for the workers that are started in the block.

    What a dead worker has counted stays; its gauges, such as the number of its streams, do not.
    """
    if not metrics_exporter.is_available():
        yield lambda _: None
        return
    from prometheus_client.multiprocess import mark_process_dead

    known: set[int] = set()

    def mark_alive(pids: Collection[int]) -> None:
        for dead in known.difference(pids):
            mark_process_dead(dead, folder)
        known.clear()
        known.update(pids)

    configured = os.environ.get(VARIABLE)
    directory = (
        nullcontext(configured) if configured else TemporaryDirectory(prefix="carillon-metrics-")
    )
    with directory as folder:
        os.environ[VARIABLE] = str(folder)
        try:
            yield mark_alive
        finally:
            if not configured:
                del os.environ[VARIABLE]

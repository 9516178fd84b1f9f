"""Where the workers keep their metrics, so that each can answer for all: prometheus-client's files.

They are made in its multi-process mode, which it takes from the environment when it is imported.
"""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from tempfile import TemporaryDirectory

from notifications.hub import metrics_exporter

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

type Tend = Callable[[Collection[int]], None]


@contextmanager
def scoreboard() -> Iterator[Tend]:
    """For the workers that are started in its block. Tell it again and again who of them lives.

    What the dead have counted stays; what they were, such as how many streams they had, does not.
    """
    if not metrics_exporter.is_possible():
        yield lambda _: None
        return
    from prometheus_client.multiprocess import mark_process_dead

    living: set[int] = set()

    def tend(pids: Collection[int]) -> None:
        for dead in living.difference(pids):
            mark_process_dead(dead, folder)
        living.clear()
        living.update(pids)

    named = os.environ.get(VARIABLE)
    with nullcontext(named) if named else TemporaryDirectory(prefix="carillon-metrics-") as folder:
        os.environ[VARIABLE] = str(folder)
        try:
            yield tend
        finally:
            if not named:
                del os.environ[VARIABLE]

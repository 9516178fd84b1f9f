"""Promises in seconds, on a machine that other tests keep busy."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOADAVG = Path("/proc/loadavg")


def allowed_seconds(seconds: float) -> float:
    """How long it may take here what takes so long on a machine that has a core for each process.

    With three processes that want to run for each core, it may take three times as long.
    """
    return seconds * _crowding()


def _crowding() -> float:
    """How many processes want to run for each core, now or on average in the last minute.

    The average alone would hide a burst that has just begun; only Linux counts them now.
    """
    wanting, _, _ = os.getloadavg()
    if LOADAVG.exists():
        runnable, _, _ = LOADAVG.read_text().split()[3].partition("/")
        wanting = max(wanting, int(runnable))
    return max(1.0, wanting / (os.cpu_count() or 1))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail if the block takes longer than that may take here."""
    allowed_before, began = allowed_seconds(seconds), time.monotonic()
    yield
    took = time.monotonic() - began
    allowed = max(allowed_before, allowed_seconds(seconds))
    assert took < allowed, (
        f"It took {took:.2f} s; {seconds} s are promised, {allowed:.2f} s allowed."
    )

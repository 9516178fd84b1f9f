"""Promises in seconds, on a machine that other tests keep busy."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager


def allowed_seconds(seconds: float) -> float:
    """How long it may take here what takes so long on a machine that has a core for each process.

    With three processes that want to run for each core, it may take three times as long.
    """
    load, _, _ = os.getloadavg()
    return seconds * max(1.0, load / (os.cpu_count() or 1))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail if the block takes longer than that may take here."""
    began = time.monotonic()
    yield
    took, allowed = time.monotonic() - began, allowed_seconds(seconds)
    assert took < allowed, (
        f"It took {took:.2f} s; {seconds} s are promised, {allowed:.2f} s allowed."
    )

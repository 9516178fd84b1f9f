"""Asks the processes of a measured Carillon what only they know: see `sitecustomize.py`."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.processes import POLL_SECONDS, Broken

DEADLINE_SECONDS = 60.0


def collect(folder: Path, pids: Sequence[int]) -> int:
    """Collect the cyclic garbage of these processes; return how many queries they have made.

    `folder` is the one with which they were started (`BENCH_PROBES`). Raises `Broken` if one of
    them does not answer.
    """
    before = {pid: _answer(folder, pid)[0] for pid in pids}
    for pid in pids:
        os.kill(pid, signal.SIGUSR2)
    deadline = time.monotonic() + DEADLINE_SECONDS
    queries = 0
    for pid in pids:
        while (answer := _answer(folder, pid))[0] <= before[pid]:
            if time.monotonic() > deadline:
                raise Broken(f"The process {pid} does not collect its garbage.")
            time.sleep(POLL_SECONDS)
        queries += answer[1]
    return queries


def _answer(folder: Path, pid: int) -> tuple[int, int]:
    """How often the process has collected, and how many queries it has made."""
    with suppress(FileNotFoundError):
        collections, queries = (folder / f"probe-{pid}").read_text().split()
        return int(collections), int(queries)
    return 0, 0

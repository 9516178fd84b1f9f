"""What `./run bench` asks a measured process: to collect its garbage, and how many queries it made.

Python imports a module of this name at its start. At SIGUSR2 the process collects, and then writes
how often it has done so, and the number of its queries, into a file that is named by its id.
Nothing of this is a part of Carillon, so that any earlier build can be asked.
"""

import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db.backends.utils import CursorWrapper

_queries = 0
_collections = 0


def _counted(execute: Callable[..., Any]) -> Callable[..., Any]:
    def count(*arguments: Any) -> Any:
        global _queries
        _queries += 1
        return execute(*arguments)

    return count


def _answer(*_: object) -> None:
    global _collections
    gc.collect()
    _collections += 1
    answer = Path(os.environ["BENCH_PROBES"]) / f"probe-{os.getpid()}"
    draft = answer.with_suffix(".new")
    draft.write_text(f"{_collections} {_queries}")
    draft.replace(answer)


if "BENCH_PROBES" in os.environ:
    # Not by `execute_wrappers`: where there are any, each session is read by itself.
    for name in ("execute", "executemany"):
        setattr(CursorWrapper, name, _counted(getattr(CursorWrapper, name)))
    signal.signal(signal.SIGUSR2, _answer)

"""Whether threads run in this process: uWSGI runs none unless it is told to."""

from functools import cache
from importlib import import_module

THREAD_OPTIONS = {"enable-threads", "threads"}


@cache
def threads_run() -> bool:
    """False under uWSGI without `enable-threads` or `threads`: a thread starts, and stands still.

    The module `uwsgi` exists only in uWSGI's own processes.
    """
    try:
        options = import_module("uwsgi").opt
    except (ImportError, AttributeError):
        return True
    names = {name.decode() if isinstance(name, bytes) else name for name in options}
    return bool(names & THREAD_OPTIONS)

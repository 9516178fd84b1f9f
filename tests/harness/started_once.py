"""Servers of several kinds for one module of tests: each starts when a test first needs it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from tests.harness.servers import WebServer

type Start = Callable[[str], WebServer]


@contextmanager
def started_once(start: Callable[[str], AbstractContextManager[WebServer]]) -> Iterator[Start]:
    """Yields what starts a server of a kind, once. The servers end with the block."""
    running: dict[str, WebServer] = {}
    with ExitStack() as stack:

        def start_once(kind: str) -> WebServer:
            if kind not in running:
                running[kind] = stack.enter_context(start(kind))
            return running[kind]

        yield start_once

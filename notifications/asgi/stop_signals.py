"""Ends the streams of a process when its server is told to stop, each with its closing block.

granian waits for open responses without a limit, gunicorn until it is killed, and uvicorn not at
all for those whose sockets have left it; they send `lifespan.shutdown` afterwards. So this module
listens to the signal beside the server, whose own handler runs as before.
"""

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from notifications.conf import get_settings
from notifications.hub import runtime

EXTENSION = "carillon.lifecycle"
"""In the scope of a lifespan: the server ends the streams itself, as `carillon serve` does."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

type SignalHandler = Callable[[int, FrameType | None], Any]

_observed: set[asyncio.AbstractEventLoop] = set()
_drains: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}


def stop_ends_streams() -> bool:
    """Whether the streams of the running loop end when the process is told to stop."""
    return asyncio.get_running_loop() in _observed


@contextmanager
def ending_streams_at_stop(scope: Mapping[str, Any]) -> Iterator[None]:
    """Meanwhile, a signal to stop closes all streams of the running loop, over `DRAIN_SECONDS`.

    Without effect in a thread, where Python allows no signal handlers. A signal that the server
    does not handle is left alone: it ends the process at once.
    """
    loop = asyncio.get_running_loop()
    replaced: dict[int, tuple[SignalHandler, SignalHandler]] = {}
    is_managed = EXTENSION in (scope.get("extensions") or {})
    if not is_managed:
        replaced = {number: _observe(loop, number, old) for number, old in _handlers()}
    if is_managed or signal.SIGTERM in replaced:
        _observed.add(loop)
    try:
        yield
    finally:
        _observed.discard(loop)
        _drains.pop(loop, None)
        for number, (ours, old) in replaced.items():
            if signal.getsignal(number) is ours:
                signal.signal(number, old)


def _handlers() -> Iterator[tuple[int, SignalHandler]]:
    """The server's handlers of signals to stop."""
    if threading.current_thread() is threading.main_thread():
        for number in STOP_SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler) and handler is not signal.default_int_handler:
                yield number, handler


def _observe(
    loop: asyncio.AbstractEventLoop, number: int, old: SignalHandler
) -> tuple[SignalHandler, SignalHandler]:
    """Put a handler in front of the old one. A loop's own handlers are called in any case."""

    def handle(signal_number: int, frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(_end_streams)
        old(signal_number, frame)

    signal.signal(number, handle)
    return handle, old


async def wait_for_drain() -> None:
    """Return once the drain is over that a signal to stop has begun, if one has.

    A server does not know the sockets of streams, and so does not wait for them.
    """
    drain = _drains.get(asyncio.get_running_loop())
    if drain is not None:
        await asyncio.wait([drain])


def drain_before_reactor_stops() -> None:
    """Let Twisted's reactor wait for a drain before it stops: Daphne has no lifespan.

    Without effect where another loop runs, or where the streams end at a signal anyway.
    """
    loop, reactor = asyncio.get_running_loop(), sys.modules.get("twisted.internet.reactor")
    if reactor is not None and loop not in _observed and getattr(reactor, "running", False):
        from twisted.internet.defer import Deferred

        _observed.add(loop)
        reactor.addSystemEventTrigger(
            "before",
            "shutdown",
            lambda: Deferred.fromFuture(asyncio.ensure_future(_drain_and_stop(), loop=loop)),
        )


async def _drain_and_stop() -> None:
    hub_runtime = runtime.current()
    if hub_runtime is not None:
        await hub_runtime.drain(over=get_settings().DRAIN_SECONDS)
        await runtime.stop()


def _end_streams() -> None:
    loop, hub_runtime = asyncio.get_running_loop(), runtime.current()
    if hub_runtime is not None and loop not in _drains:
        drain = hub_runtime.drain(over=get_settings().DRAIN_SECONDS)
        _drains[loop] = loop.create_task(drain)

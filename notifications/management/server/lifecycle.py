"""The shift of a serving process, from its first connection to its last, whichever server it is.

Its end is in this order: it is no longer ready; streams are told, one after another; whoever still
connects is served until nobody can; what is being answered is answered; connections are closed.
"""

import asyncio
import logging
import select
import socket
from collections.abc import Callable
from typing import Protocol

from notifications.conf import get_settings
from notifications.hub import runtime
from notifications.hub.runtime import Runtime
from notifications.management.server.ipc import Order, Orders, Report

logger = logging.getLogger("carillon")

POLL = 0.02
LINGER = 0.2
"""Whoever was let in a moment ago may still be about to send a request."""
PATIENCE = 5.0
"""For what is being answered, and for clients to read it."""
A_DAY = 86_400.0


class Carrier(Protocol):
    """A server, Daphne or uvicorn: what a shift asks of it."""

    async def accept(self) -> None: ...

    def stop_accepting(self) -> None: ...

    def part(self) -> None:
        """From here on, a connection closes after the next answer, and the answer says so."""

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""

    def hang_up(self) -> None:
        """Close connections on which nothing is going on. What was written still goes out."""

    @property
    def connected(self) -> bool:
        """Whether there is any connection."""

    def end(self) -> None:
        """Leave the event loop. What is left is cut."""


class Shift:
    def __init__(self, listener: socket.socket, orders: Orders) -> None:
        self.listener = listener
        self.orders = orders

    async def run(self, carrier: Carrier) -> None:
        # Not every server speaks lifespan, and the window should be loaded before the first stream.
        here = runtime.start()
        self.orders.report(Report.BOOTED)
        reporting = asyncio.create_task(self._report_ready(here))
        try:
            await self.orders.wait(Order.ACCEPT)
            await carrier.accept()
            await self.orders.wait(Order.DRAIN)
            await self._leave(carrier, here)
        finally:
            reporting.cancel()
            await runtime.stop()
            carrier.end()

    async def _report_ready(self, here: Runtime) -> None:
        if await here.wait_ready(timeout=A_DAY):
            self.orders.report(Report.READY)

    async def _leave(self, carrier: Carrier, here: Runtime) -> None:
        replaced = self.orders.given(Order.RETIRE)
        if replaced:
            carrier.stop_accepting()
        carrier.part()
        if self.orders.given(Order.FINISH):
            await here.drain(over=0)
        else:
            await self._drain(here)
        self.orders.report(Report.DRAINED)
        if not replaced:
            await self.orders.wait(Order.FINISH)
            await self._serve_who_waits()
            carrier.stop_accepting()
        await self._settle(carrier)

    async def _drain(self, here: Runtime) -> None:
        """Takes its time even without streams: a balancer is to notice, and others to be served.

        An order to finish cuts it short.
        """
        hurry = asyncio.create_task(self.orders.wait(Order.FINISH))
        slowly = asyncio.create_task(_drain_slowly(here, get_settings().DRAIN_SECONDS))
        await asyncio.wait([hurry, slowly], return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not slowly.done():
            slowly.cancel()
            await here.drain(over=0)

    async def _serve_who_waits(self) -> None:
        """Until the socket's queue is empty: whoever is in it would see a reset."""
        queue = select.poll()
        queue.register(self.listener, select.POLLIN)
        await _until(lambda: not queue.poll(0), _now() + PATIENCE)

    async def _settle(self, carrier: Carrier) -> None:
        limit = _now() + PATIENCE
        linger = _now() + LINGER
        await _until(lambda: _now() > linger and not carrier.busy, limit)
        carrier.hang_up()
        await _until(lambda: not carrier.connected, limit)


async def _drain_slowly(here: Runtime, seconds: float) -> None:
    async with asyncio.TaskGroup() as both:
        both.create_task(here.drain(over=seconds))
        both.create_task(asyncio.sleep(seconds))


async def _until(condition: Callable[[], bool], limit: float) -> None:
    """No server says any of this by itself."""
    while not condition() and _now() < limit:  # noqa: ASYNC110
        await asyncio.sleep(POLL)


def _now() -> float:
    return asyncio.get_running_loop().time()

"""The life of a serving process, from its first connection to its last, under either server.

Its end has this order: the process is no longer ready; its streams end, one after another; new
connections are served until the port is closed to them; requests in progress are answered;
connections are closed.
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
from notifications.management.server.ipc import Commands, Report, WorkerCommand

logger = logging.getLogger("carillon")

POLL_SECONDS = 0.02
LINGER_SECONDS = 0.2
"""A client that was accepted a moment ago may be about to send its request."""
FINISH_SECONDS = 5.0
"""For requests in progress, and for clients to read their responses."""
READY_TIMEOUT_SECONDS = 86_400.0


class ManagedServer(Protocol):
    """What a lifecycle needs of a server, Daphne or uvicorn."""

    async def accept(self) -> None:
        """Accept connections from now on."""

    def stop_accepting(self) -> None: ...

    def close_after_responses(self) -> None:
        """Close each connection after its next response, which announces that."""

    @property
    def is_responding(self) -> bool:
        """Whether a request is in progress."""

    def close_idle(self) -> None:
        """Close connections without a request in progress. What was written is still sent."""

    @property
    def has_connections(self) -> bool: ...

    def exit(self) -> None:
        """Leave the event loop. Connections that remain are cut."""


class Lifecycle:
    def __init__(self, listener: socket.socket, commands: Commands) -> None:
        self.listener = listener
        self.commands = commands

    async def run(self, server: ManagedServer) -> None:
        # Not every server has ASGI's lifespan, and the window should be loaded before the first
        # stream.
        hub_runtime = runtime.start()
        self.commands.report(Report.STARTED)
        reporting = asyncio.create_task(self._report_ready(hub_runtime))
        try:
            await self.commands.wait(WorkerCommand.ACCEPT)
            await server.accept()
            await self.commands.wait(WorkerCommand.DRAIN)
            await self._shut_down(server, hub_runtime)
        finally:
            reporting.cancel()
            await runtime.stop()
            server.exit()

    async def _report_ready(self, hub_runtime: Runtime) -> None:
        if await hub_runtime.wait_ready(timeout=READY_TIMEOUT_SECONDS):
            self.commands.report(Report.READY)

    async def _shut_down(self, server: ManagedServer, hub_runtime: Runtime) -> None:
        is_replaced = self.commands.has_received(WorkerCommand.RETIRE)
        if is_replaced:
            server.stop_accepting()
        server.close_after_responses()
        if self.commands.has_received(WorkerCommand.STOP):
            await hub_runtime.drain(over=0)
        else:
            await self._drain(hub_runtime)
        self.commands.report(Report.DRAINED)
        if not is_replaced:
            await self.commands.wait(WorkerCommand.STOP)
            await self._serve_queue()
            server.stop_accepting()
        await self._finish_responses(server)

    async def _drain(self, hub_runtime: Runtime) -> None:
        """Take `DRAIN_SECONDS` even without streams: a load balancer has to notice, and requests
        that come meanwhile are served.

        The command to stop cuts it short.
        """
        stop = asyncio.create_task(self.commands.wait(WorkerCommand.STOP))
        drain = asyncio.create_task(_drain_slowly(hub_runtime, get_settings().DRAIN_SECONDS))
        await asyncio.wait([stop, drain], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not drain.done():
            drain.cancel()
            await hub_runtime.drain(over=0)

    async def _serve_queue(self) -> None:
        """Serve until the socket's queue is empty: connections in it would be reset."""
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        await _wait_until(lambda: not poll.poll(0), _now() + FINISH_SECONDS)

    async def _finish_responses(self, server: ManagedServer) -> None:
        deadline = _now() + FINISH_SECONDS
        linger_until = _now() + LINGER_SECONDS
        await _wait_until(lambda: _now() > linger_until and not server.is_responding, deadline)
        server.close_idle()
        await _wait_until(lambda: not server.has_connections, deadline)


async def _drain_slowly(hub_runtime: Runtime, seconds: float) -> None:
    async with asyncio.TaskGroup() as both:
        both.create_task(hub_runtime.drain(over=seconds))
        both.create_task(asyncio.sleep(seconds))


async def _wait_until(condition: Callable[[], bool], deadline: float) -> None:
    """Poll, since neither server signals these conditions."""
    while not condition() and _now() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(POLL_SECONDS)


def _now() -> float:
    return asyncio.get_running_loop().time()

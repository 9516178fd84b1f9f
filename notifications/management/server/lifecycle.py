"""The life of a serving process, from its first connection to its last, under either server.

Its end has this order: the process is no longer ready; its streams end, one after another; new
connections are served until the port is closed to them; requests in progress are answered;
connections are closed. The ASGI handler announces that in each response (`Connection: close`).
"""

import asyncio
import select
import socket
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Protocol

from notifications.conf import get_settings
from notifications.hub import runtime
from notifications.hub.runtime import Runtime
from notifications.management.server.messages import Command, Commands, Report
from notifications.transport.pollers import are_sending

POLL_SECONDS = 0.02
HANDSHAKE_SECONDS = 0.1
"""For handshakes that were under way when the port closed to new connections: they complete."""
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

    @property
    def is_responding(self) -> bool:
        """Whether a request is in progress."""

    @property
    def has_connections(self) -> bool: ...

    def close_connections(self) -> None:
        """Close each connection when what was written has been sent."""

    def exit(self) -> None:
        """Leave the event loop. Connections that remain are cut."""


class Lifecycle:
    def __init__(self, listeners: Sequence[socket.socket], commands: Commands) -> None:
        self.listeners = listeners
        self.commands = commands

    async def run(self, server: ManagedServer) -> None:
        # The window should be loaded before the first stream, and not every server has a lifespan.
        hub_runtime = runtime.start()
        self.commands.report(Report.STARTED)
        reporting = asyncio.create_task(self._report_ready(hub_runtime))
        try:
            await self.commands.wait(Command.ACCEPT)
            await server.accept()
            await self.commands.wait(Command.DRAIN)
            await self._shut_down(server, hub_runtime)
        finally:
            reporting.cancel()
            await runtime.stop()
            server.exit()

    async def _report_ready(self, hub_runtime: Runtime) -> None:
        if await hub_runtime.wait_ready(timeout=READY_TIMEOUT_SECONDS):
            self.commands.report(Report.READY)

    async def _shut_down(self, server: ManagedServer, hub_runtime: Runtime) -> None:
        is_replaced = self.commands.has_received(Command.RETIRE)
        if is_replaced:
            server.stop_accepting()
        await self._drain(hub_runtime)
        self.commands.report(Report.DRAINED)
        if not is_replaced:
            await self.commands.wait(Command.STOP)
            await self._serve_queue()
            server.stop_accepting()
        await self._finish_responses(server)

    async def _drain(self, hub_runtime: Runtime) -> None:
        """Take `DRAIN_SECONDS` even without streams: a load balancer has to notice, and requests
        that come meanwhile are served.

        The command to stop cuts it short.
        """
        seconds = get_settings().DRAIN_SECONDS
        if self.commands.has_received(Command.STOP):
            seconds = 0
        draining = asyncio.create_task(hub_runtime.drain(over=seconds))
        try:
            await asyncio.wait_for(self.commands.wait(Command.STOP), seconds)
        except TimeoutError:
            await draining
        else:
            draining.cancel()
            await hub_runtime.drain(over=0)

    async def _serve_queue(self) -> None:
        """Serve until the sockets' queues are empty: connections in them would be reset."""
        await asyncio.sleep(HANDSHAKE_SECONDS)
        poll = select.poll()
        for listener in self.listeners:
            poll.register(listener, select.POLLIN)
        await _wait_until(lambda: not poll.poll(0), monotonic() + FINISH_SECONDS)

    async def _finish_responses(self, server: ManagedServer) -> None:
        deadline = monotonic() + FINISH_SECONDS
        linger_until = monotonic() + LINGER_SECONDS
        await _wait_until(lambda: monotonic() > linger_until and not server.is_responding, deadline)
        server.close_connections()
        await _wait_until(lambda: not (server.has_connections or are_sending()), deadline)


async def _wait_until(condition: Callable[[], bool], deadline: float) -> None:
    """Poll, since neither server signals these conditions."""
    while not condition() and monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(POLL_SECONDS)

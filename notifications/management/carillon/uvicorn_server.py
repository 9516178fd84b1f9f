"""uvicorn, which takes connections when it is told to, and ends in good order."""

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from socket import socket
from typing import Any

from uvicorn import Config, Server

from notifications.conf import get_settings
from notifications.management.carillon.listener import BACKLOG
from notifications.management.carillon.patience import Debt, Patience
from notifications.management.carillon.shift import Shift
from notifications.management.carillon.uvicorn_bounds import MAX_HEAD, bounded, cut

CLOSE = (b"connection", b"close")
KEEPALIVE = 60  # seconds, as Daphne's
MAX_MESSAGE = 1024 * 1024  # bytes of a WebSocket's message, as Daphne's
LEFTOVERS = 1  # seconds for what a shift has already waited for


class UvicornServer(Server):
    def __init__(self, application: Any, shift: Shift, *, proxy_headers: bool) -> None:
        self._application = application
        self._shift = shift
        self._parting = False
        self._patience: Patience[Any] | None = None
        super().__init__(
            Config(
                self._answer,
                interface="asgi3",
                # "on" would refuse the many applications that know HTTP and WebSockets alone.
                lifespan="auto",
                log_config=None,
                access_log=False,
                proxy_headers=proxy_headers,
                forwarded_allow_ips=[*map(str, get_settings().TRUSTED_PROXIES)] or None,
                backlog=BACKLOG,
                h11_max_incomplete_event_size=MAX_HEAD,
                timeout_keep_alive=KEEPALIVE,
                timeout_graceful_shutdown=LEFTOVERS,
                # A compressor for each connection costs more than all else that one does.
                ws_per_message_deflate=False,
                ws_max_size=MAX_MESSAGE,
            )
        )

    def _answer(self, scope: Any, receive: Any, send: Any) -> Any:
        if self._parting and scope["type"] == "http":
            _answer_last(send.__self__)
        return self._application(scope, receive, send)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None: they are orders, and ours."""
        yield

    async def startup(self, sockets: list[socket] | None = None) -> None:
        self._shift.orders.listen(asyncio.get_running_loop())
        await super().startup(sockets=[])

    async def main_loop(self) -> None:
        shift = asyncio.create_task(self._shift.run(self))
        await super().main_loop()
        await shift

    async def accept(self) -> None:
        loop = asyncio.get_running_loop()
        self._patience = Patience(self._owes, cut)
        server = await loop.create_server(
            partial(self._protocol, loop), sock=self._shift.listener, backlog=BACKLOG
        )
        self.servers.append(server)

    def _protocol(self, loop: AbstractEventLoop) -> Any:
        assert self._patience is not None
        protocol_class: Any = self.config.http_protocol_class
        protocol = bounded(protocol_class)(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=loop,
        )
        self._patience.watch(protocol)
        return protocol

    def _owes(self, protocol: Any) -> Debt:
        assert self._patience is not None
        debt: Debt = protocol.owes(self._patience.stride)
        return debt

    def stop_accepting(self) -> None:
        for server in self.servers:
            server.close()

    def part(self) -> None:
        self._parting = True
        for connection in self._being_answered:
            if not connection.cycle.response_started:
                _answer_last(connection.cycle)
            connection.shutdown()

    @property
    def busy(self) -> bool:
        return bool(self._being_answered)

    def hang_up(self) -> None:
        answering = self._being_answered
        for connection in self._connections:
            if connection not in answering:
                connection.shutdown()

    @property
    def connected(self) -> bool:
        return bool(self._connections)

    def end(self) -> None:
        for connection in self._connections:
            connection.transport.abort()
        self.should_exit = True

    @property
    def _connections(self) -> list[Any]:
        return list(self.server_state.connections)

    @property
    def _being_answered(self) -> list[Any]:
        """Not those that became WebSockets, which have no request and no end."""
        cycles = [(each, getattr(each, "cycle", None)) for each in self._connections]
        return [each for each, cycle in cycles if cycle and not cycle.response_complete]


def _answer_last(cycle: Any) -> None:
    """As if the client had asked that its connection be closed: h11's way, and httptools'."""
    cycle.scope["headers"].append(CLOSE)
    cycle.keep_alive = False

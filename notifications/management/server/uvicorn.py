"""uvicorn, which takes connections when it is told to, and ends in good order."""

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from socket import socket
from typing import Any

from uvicorn import Config, Server

from notifications.conf import get_settings
from notifications.management.server.lifecycle import Shift
from notifications.management.server.listener import BACKLOG
from notifications.management.server.request_timeout import Debt, Owed, Patience

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


# uvicorn's connections, bounded: how long a request takes to come in, and how large it is.
#
# Of heads h11 takes what it is told to; httptools takes them without end.


MAX_HEAD = 32 * 1024
_REFUSAL = b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Bounds:
    """Before a protocol of uvicorn's: counts what it receives."""

    cycle: Any
    flow: Any
    transport: Any
    timeout_keep_alive_task: Any
    _counted = 0
    _head = 0
    _counted_for: Any = None

    def data_received(self, data: bytes) -> None:
        reads_head = self._reads_head
        super().data_received(data)  # type: ignore[misc]
        if self.cycle is not self._counted_for:
            self._counted_for, self._counted, self._head = self.cycle, len(data), 0
        elif reads_head:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse(b"431 Request Header Fields Too Large")
        else:
            self._counted += len(data)
            if self._counted > get_settings().MAX_REQUEST_BYTES + MAX_HEAD:
                self._refuse(b"413 Content Too Large")

    @property
    def _reads_head(self) -> bool:
        """Not if it was answered before its body was through, and the rest may still come."""
        cycle = self.cycle
        return cycle is None or (cycle.response_complete and not cycle.more_body)

    def _refuse(self, status: bytes) -> None:
        if self.cycle is None or not self.cycle.response_started:
            self.transport.write(_REFUSAL % status)
        self.transport.close()

    def owes(self, stride: int) -> Debt:
        """What it is in the middle of sending, and how many strides of it have come."""
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return Owed.GONE
        cycle = self.cycle
        if cycle is None:
            return Owed.FIRST
        if cycle.response_complete:
            # Kept alive: uvicorn's own timer runs until something comes.
            idle = self.timeout_keep_alive_task is not None
            return Owed.NOTHING if idle else (id(cycle), -1)
        if cycle.more_body and not (cycle.response_started or self.flow.read_paused):
            return id(cycle), self._counted // stride
        return Owed.NOTHING


@cache
def bounded(protocol_class: type[Any]) -> type[Any]:
    return type(f"Bounded{protocol_class.__name__}", (Bounds, protocol_class), {})


def cut(connection: Any) -> None:
    connection.transport.abort()

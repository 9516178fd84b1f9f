"""uvicorn, driven by a lifecycle, with limits on how a request arrives.

All undocumented attributes of uvicorn that the commands need are used in this module. `Server`:
`capture_signals`, `startup`, `main_loop`, `servers`, `server_state.connections`, `lifespan.state`,
`should_exit` and `config.http_protocol_class`. Its protocols: their constructor, `cycle`, `flow`,
`transport`, `timeout_keep_alive_task` and `shutdown`. A protocol's request-response cycle: `scope`,
`keep_alive`, `more_body`, `response_started` and `response_complete`.
"""

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from socket import socket
from typing import Any

from uvicorn import Config, Server

from notifications.conf import get_settings
from notifications.management.server.lifecycle import Lifecycle
from notifications.management.server.listener import BACKLOG
from notifications.management.server.request_timeout import Arrival, Awaited, RequestTimeout

CONNECTION_CLOSE = (b"connection", b"close")
KEEP_ALIVE_SECONDS = 60  # as Daphne's
MAX_WEBSOCKET_MESSAGE_BYTES = 1024 * 1024  # as Daphne's
GRACEFUL_SHUTDOWN_SECONDS = 1  # for what remains, as the lifecycle has waited already
MAX_HEAD_BYTES = 32 * 1024
REFUSAL = b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class UvicornServer(Server):
    def __init__(self, application: Any, lifecycle: Lifecycle, *, proxy_headers: bool) -> None:
        self._application = application
        self._lifecycle = lifecycle
        self._closes_after_responses = False
        self._request_timeout: RequestTimeout[Any] | None = None
        super().__init__(
            Config(
                self._respond,
                interface="asgi3",
                # "on" would refuse the many applications that know HTTP and WebSockets alone.
                lifespan="auto",
                log_config=None,
                access_log=False,
                proxy_headers=proxy_headers,
                forwarded_allow_ips=[*map(str, get_settings().TRUSTED_PROXIES)] or None,
                backlog=BACKLOG,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
                # A compressor for each connection costs more than all else of the connection.
                ws_per_message_deflate=False,
                ws_max_size=MAX_WEBSOCKET_MESSAGE_BYTES,
            )
        )

    def _respond(self, scope: Any, receive: Any, send: Any) -> Any:
        if self._closes_after_responses and scope["type"] == "http":
            _close_after_response(send.__self__)
        return self._application(scope, receive, send)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals: the lifecycle's commands handle them."""
        yield

    async def startup(self, sockets: list[socket] | None = None) -> None:
        self._lifecycle.commands.attach(asyncio.get_running_loop())
        await super().startup(sockets=[])

    async def main_loop(self) -> None:
        lifecycle = asyncio.create_task(self._lifecycle.run(self))
        await super().main_loop()
        await lifecycle

    async def accept(self) -> None:
        loop = asyncio.get_running_loop()
        self._request_timeout = RequestTimeout(self._arrival_of, _abort)
        server = await loop.create_server(
            partial(self._make_protocol, loop), sock=self._lifecycle.listener, backlog=BACKLOG
        )
        self.servers.append(server)

    def _make_protocol(self, loop: AbstractEventLoop) -> Any:
        assert self._request_timeout is not None
        protocol_class: Any = self.config.http_protocol_class
        protocol = bounded(protocol_class)(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=loop,
        )
        self._request_timeout.watch(protocol)
        return protocol

    def _arrival_of(self, protocol: Any) -> Arrival:
        assert self._request_timeout is not None
        arrival: Arrival = protocol.arrival(self._request_timeout.body_step)
        return arrival

    def stop_accepting(self) -> None:
        for server in self.servers:
            server.close()

    def close_after_responses(self) -> None:
        self._closes_after_responses = True
        for connection in self._responding:
            if not connection.cycle.response_started:
                _close_after_response(connection.cycle)
            connection.shutdown()

    @property
    def is_responding(self) -> bool:
        return bool(self._responding)

    def close_idle(self) -> None:
        responding = self._responding
        for connection in self._connections:
            if connection not in responding:
                connection.shutdown()

    @property
    def has_connections(self) -> bool:
        return bool(self._connections)

    def exit(self) -> None:
        for connection in self._connections:
            connection.transport.abort()
        self.should_exit = True

    @property
    def _connections(self) -> list[Any]:
        return list(self.server_state.connections)

    @property
    def _responding(self) -> list[Any]:
        """Connections with a request in progress; a WebSocket's connection has no request."""
        cycles = [(protocol, getattr(protocol, "cycle", None)) for protocol in self._connections]
        return [protocol for protocol, cycle in cycles if cycle and not cycle.response_complete]


def _close_after_response(cycle: Any) -> None:
    """Make h11 and httptools act as if the client had asked for `Connection: close`."""
    cycle.scope["headers"].append(CONNECTION_CLOSE)
    cycle.keep_alive = False


def _abort(connection: Any) -> None:
    connection.transport.abort()


class BoundedProtocol:
    """A mixin before one of uvicorn's protocols, which limits the size of heads and bodies.

    h11 has a limit for heads (`h11_max_incomplete_event_size`), httptools has none.
    """

    cycle: Any
    flow: Any
    transport: Any
    timeout_keep_alive_task: Any
    _counted_cycle: Any = None
    _body_bytes = 0
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        reads_head = self._reads_head
        super().data_received(data)  # type: ignore[misc]
        if self.cycle is not self._counted_cycle:
            self._counted_cycle, self._body_bytes, self._head_bytes = self.cycle, len(data), 0
        elif reads_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")
        else:
            self._body_bytes += len(data)
            if self._body_bytes > get_settings().MAX_REQUEST_BYTES + MAX_HEAD_BYTES:
                self._refuse(b"413 Content Too Large")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)  # type: ignore[misc]
        # uvicorn leaves its timer running after a reset, and the timer holds the whole connection.
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

    @property
    def _reads_head(self) -> bool:
        """Whether arriving bytes belong to a head.

        They do not while the rest of a body may come, even after its response.
        """
        cycle = self.cycle
        return cycle is None or (cycle.response_complete and not cycle.more_body)

    def _refuse(self, status: bytes) -> None:
        if self.cycle is None or not self.cycle.response_started:
            self.transport.write(REFUSAL % status)
        self.transport.close()

    def arrival(self, body_step: int) -> Arrival:
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return Awaited.CLOSED
        cycle = self.cycle
        if cycle is None:
            return Awaited.FIRST_HEAD
        if cycle.response_complete:
            # A kept-alive connection is idle while uvicorn's own timer runs: until data arrives.
            is_idle = self.timeout_keep_alive_task is not None
            return Awaited.NOTHING if is_idle else (id(cycle), -1)
        if cycle.more_body and not (cycle.response_started or self.flow.read_paused):
            return id(cycle), self._body_bytes // body_step
        return Awaited.NOTHING


@cache
def bounded(protocol_class: type[Any]) -> type[Any]:
    return type(f"Bounded{protocol_class.__name__}", (BoundedProtocol, protocol_class), {})

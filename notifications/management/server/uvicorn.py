"""uvicorn, driven by a lifecycle.

docs/extend.md has all undocumented attributes of uvicorn that this module uses.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from socket import socket
from typing import Any

from uvicorn import Config, Server

from notifications.asgi.stop_signals import EXTENSION
from notifications.asgi.uvicorn_requests import MAX_HEAD_BYTES, bounded
from notifications.conf import get_settings
from notifications.management.server.lifecycle import Lifecycle
from notifications.management.server.listener import BACKLOG

MAX_WEBSOCKET_MESSAGE_BYTES = 1024 * 1024  # as Daphne's
DATE_SECONDS = 1
GRACEFUL_SHUTDOWN_SECONDS = 1  # for what remains, as the lifecycle has waited already


class UvicornServer(Server):
    def __init__(self, application: Any, lifecycle: Lifecycle, *, proxy_headers: bool) -> None:
        self._application, self._lifecycle = application, lifecycle
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
                timeout_keep_alive=get_settings().REQUEST_TIMEOUT,  # type: ignore[arg-type]
                timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
                # A compressor for each connection costs more than all else of the connection.
                ws_per_message_deflate=False,
                ws_max_size=MAX_WEBSOCKET_MESSAGE_BYTES,
            )
        )

    def _respond(self, scope: Any, receive: Any, send: Any) -> Any:
        if scope["type"] == "lifespan":
            scope["extensions"] = {EXTENSION: {}}
        return self._application(scope, receive, send)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals: the lifecycle's commands handle them."""
        yield

    async def startup(self, sockets: list[socket] | None = None) -> None:
        self._lifecycle.commands.attach(asyncio.get_running_loop())
        await super().startup(sockets=[])

    async def main_loop(self) -> None:
        # uvicorn's own loop wakes ten times a second, to look whether it should exit.
        lifecycle = asyncio.create_task(self._lifecycle.run(self))
        while not lifecycle.done():
            await self.on_tick(0)  # the `Date` header
            await asyncio.wait([lifecycle], timeout=DATE_SECONDS)
        await lifecycle

    async def accept(self) -> None:
        loop = asyncio.get_running_loop()
        protocol_class: Any = self.config.http_protocol_class

        def protocol() -> Any:
            return bounded(protocol_class)(
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
                _loop=loop,
            )

        for listener in self._lifecycle.listeners:
            self.servers.append(await loop.create_server(protocol, sock=listener, backlog=BACKLOG))

    def stop_accepting(self) -> None:
        for server in self.servers:
            server.close()

    @property
    def is_responding(self) -> bool:
        # A WebSocket's connection has no request.
        cycles = [getattr(each, "cycle", None) for each in self.server_state.connections]
        return any(cycle is not None and not cycle.response_complete for cycle in cycles)

    def close_connections(self) -> None:
        for connection in list(self.server_state.connections):
            connection.shutdown()

    @property
    def has_connections(self) -> bool:
        return bool(self.server_state.connections)

    def exit(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        self.should_exit = True

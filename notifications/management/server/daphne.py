"""Daphne, driven by a lifecycle, with limits on how a request arrives.

All private or undocumented attributes of Daphne and Twisted that the commands need are used in this
module. Daphne: `Server.connections` with `application_instance`, `kill_all_applications`,
`create_application`, `proxy_forwarded_address_header`. Twisted: the reactor's `adoptStreamPort`,
`getReaders` and `getWriters`; a request's `channel`, `content`, `startedWriting` and
`responseHeaders`; a channel's `persistent`, `requests`, `_handlingRequest`, `_buffer` and
`dataReceived`, and the `_channel` of a generic HTTP protocol.
"""

import asyncio
from contextlib import suppress
from ipaddress import ip_network
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server, twisted_loop
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.tcp import Server as Connection

from notifications.conf import get_settings
from notifications.hub.client_ip import is_trusted, nearest
from notifications.management.server.lifecycle import Lifecycle
from notifications.management.server.request_timeout import Arrival, Awaited, RequestTimeout

reactor: Any = installed_reactor  # a module, to type checkers

SERVICE_RESTART = 1012  # a close code of RFC 6455's registry
FORWARDED = {
    "proxy_forwarded_address_header": "X-Forwarded-For",
    "proxy_forwarded_port_header": "X-Forwarded-Port",
    "proxy_forwarded_proto_header": "X-Forwarded-Proto",
}
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class DaphneServer(Server):  # type: ignore[misc]
    def __init__(self, application: Any, lifecycle: Lifecycle, *, proxy_headers: bool) -> None:
        forwarded = FORWARDED if proxy_headers else {}
        # Daphne's constructor refuses a server without endpoints.
        super().__init__(application, endpoints=["none"], signal_handlers=False, **forwarded)
        self.endpoints.clear()
        self._lifecycle = lifecycle
        self._port: Any = None
        self._closes_after_responses = False

    def run(self) -> None:
        self._lifecycle.commands.attach(twisted_loop)
        lifecycle = twisted_loop.create_task(self._lifecycle.run(self))
        super().run()
        lifecycle.result()

    async def accept(self) -> None:
        listener = self._lifecycle.listener
        listener.setblocking(False)
        self._port = reactor.adoptStreamPort(
            listener.fileno(), listener.family, BoundedFactory(self)
        )

    def stop_accepting(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            port.stopListening()

    def close_after_responses(self) -> None:
        self._closes_after_responses = True
        for request in self._requests:
            _close_after_response(request)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if isinstance(protocol, WebRequest):
            if self._closes_after_responses:
                _close_after_response(protocol)
            if self.proxy_forwarded_address_header:
                _set_client_behind_proxies(protocol.client, scope)
        return super().create_application(protocol, scope)

    @property
    def is_responding(self) -> bool:
        return bool(self._responding)

    def close_idle(self) -> None:
        responding = {request.channel.transport for request in self._responding}
        for reader in reactor.getReaders():
            if isinstance(reader, Connection) and reader not in responding:
                connection: Any = reader
                # Without this, the connection would wait for its producer, which writes nothing
                # while the connection is idle.
                connection.unregisterProducer()
                connection.loseConnection()
        for protocol in list(self.connections):
            if isinstance(protocol, WebSocketProtocol) and protocol.state == protocol.STATE_OPEN:
                protocol.sendCloseFrame(code=SERVICE_RESTART)

    @property
    def has_connections(self) -> bool:
        watched = [*reactor.getReaders(), *reactor.getWriters()]
        return self.is_responding or any(isinstance(item, Connection) for item in watched)

    def exit(self) -> None:
        with suppress(ReactorNotRunning):
            self.stop()

    def kill_all_applications(self) -> Deferred[None]:
        # Daphne fails at a connection whose application has not begun or has ended, and then
        # cancels no application at all.
        for protocol, details in list(self.connections.items()):
            if "application_instance" not in details:
                del self.connections[protocol]
        killed: Deferred[None] = super().kill_all_applications()
        return killed

    @property
    def _requests(self) -> list[Any]:
        return [
            protocol
            for protocol in list(self.connections)
            if isinstance(protocol, WebRequest) and getattr(protocol, "channel", None) is not None
        ]

    @property
    def _responding(self) -> list[Any]:
        applications = {
            request: self.connections[request].get("application_instance")
            for request in self._requests
        }
        return [
            request
            for request, application in applications.items()
            if isinstance(application, asyncio.Future) and not application.done()
        ]


def _set_client_behind_proxies(peer: Any, scope: dict[str, Any]) -> None:
    """Set the scope's client to the address nearest to us that is not a trusted proxy's.

    Daphne takes the first address of X-Forwarded-For, which a client can invent.
    """
    if not hasattr(peer, "host"):
        return
    scope["client"] = [peer.host, peer.port]
    trusted = get_settings().TRUSTED_PROXIES
    if trusted and not is_trusted(peer.host, trusted):
        scope["scheme"] = "http"
        return
    address = nearest(scope, trusted or (ip_network(peer.host.partition("%")[0]),))
    if str(address) != peer.host:
        scope["client"] = [str(address), 0]


def _close_after_response(request: Any) -> None:
    """Close the connection after the response, and announce it if the headers are not sent yet."""
    request.channel.persistent = False
    if not request.startedWriting:
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])


class BoundedRequest(WebRequest):  # type: ignore[misc]
    """A request whose body has a limit.

    Twisted limits heads by itself, to 16 KiB and 500 lines. It keeps a whole body, beyond 100 KiB
    on disk, before it calls the application.
    """

    body_bytes = 0

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self.body_bytes += len(data)
        if self.body_bytes <= get_settings().MAX_REQUEST_BYTES:
            super().handleContentChunk(data)
            return
        channel = self.channel
        channel.transport.write(TOO_LARGE)
        channel.dataReceived = lambda _: None
        channel.loseConnection()

    def requestReceived(self, *args: Any) -> None:  # noqa: N802 - Twisted's name
        self.channel.carillon_has_request = True
        super().requestReceived(*args)


class BoundedFactory(HTTPFactory):  # type: ignore[misc]
    """Makes protocols whose requests have limits on their size and on the time they take."""

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self._request_timeout: RequestTimeout[Any] = RequestTimeout(self._arrival_of, _abort)

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802 - Twisted's name
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = BoundedRequest
        # A generic protocol begins with an HTTP/1 channel, before any other is negotiated.
        self._request_timeout.watch(protocol._channel)  # noqa: SLF001
        return protocol

    def _arrival_of(self, channel: Any) -> Arrival:
        if not getattr(channel.transport, "connected", False):
            return Awaited.CLOSED
        if channel._handlingRequest:  # noqa: SLF001
            return Awaited.NOTHING
        request = channel.requests[-1] if channel.requests else None
        if request is not None and request.content is not None:
            return id(request), request.body_bytes // self._request_timeout.body_step
        if not getattr(channel, "carillon_has_request", False):
            return Awaited.FIRST_HEAD
        if request is None and not channel._buffer:  # noqa: SLF001
            return Awaited.NOTHING
        return id(request), -1


def _abort(channel: Any) -> None:
    channel.transport.abortConnection()

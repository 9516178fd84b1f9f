"""Daphne, which takes connections when it is told to, and ends in good order."""

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
from notifications.management.server.lifecycle import Shift
from notifications.management.server.request_timeout import Debt, Owed, Patience

reactor: Any = installed_reactor  # a module, to type checkers

RESTARTING = 1012  # RFC 6455's registry: Service Restart
FORWARDED = {
    "proxy_forwarded_address_header": "X-Forwarded-For",
    "proxy_forwarded_port_header": "X-Forwarded-Port",
    "proxy_forwarded_proto_header": "X-Forwarded-Proto",
}


class DaphneServer(Server):  # type: ignore[misc]
    def __init__(self, application: Any, shift: Shift, *, proxy_headers: bool) -> None:
        forwarded = FORWARDED if proxy_headers else {}
        # It refuses to be made without an endpoint.
        super().__init__(application, endpoints=["none"], signal_handlers=False, **forwarded)
        self.endpoints.clear()
        self._shift = shift
        self._port: Any = None
        self._parting = False

    def run(self) -> None:
        self._shift.orders.listen(twisted_loop)
        shift = twisted_loop.create_task(self._shift.run(self))
        super().run()
        shift.result()

    async def accept(self) -> None:
        listener = self._shift.listener
        listener.setblocking(False)
        self._port = reactor.adoptStreamPort(
            listener.fileno(), listener.family, BoundedFactory(self)
        )

    def stop_accepting(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            port.stopListening()

    def part(self) -> None:
        self._parting = True
        for request in self._requests:
            _part(request)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if isinstance(protocol, WebRequest):
            if self._parting:
                _part(protocol)
            if self.proxy_forwarded_address_header:
                _look_behind_proxies(protocol.client, scope)
        return super().create_application(protocol, scope)

    @property
    def busy(self) -> bool:
        return bool(self._being_answered)

    def hang_up(self) -> None:
        answering = {request.channel.transport for request in self._being_answered}
        for reader in reactor.getReaders():
            if isinstance(reader, Connection) and reader not in answering:
                connection: Any = reader
                # It would wait for its producer, which on an idle connection has nothing to add.
                connection.unregisterProducer()
                connection.loseConnection()
        for protocol in list(self.connections):
            if isinstance(protocol, WebSocketProtocol) and protocol.state == protocol.STATE_OPEN:
                protocol.sendCloseFrame(code=RESTARTING)

    @property
    def connected(self) -> bool:
        known = [*reactor.getReaders(), *reactor.getWriters()]
        return self.busy or any(isinstance(each, Connection) for each in known)

    def end(self) -> None:
        with suppress(ReactorNotRunning):
            self.stop()

    def kill_all_applications(self) -> Deferred[None]:
        # Daphne would stumble over a connection that has no application running: none yet, or none
        # any more, and cancel nothing.
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
    def _being_answered(self) -> list[Any]:
        applications = {
            request: self.connections[request].get("application_instance")
            for request in self._requests
        }
        return [
            request
            for request, application in applications.items()
            if isinstance(application, asyncio.Future) and not application.done()
        ]


def _look_behind_proxies(peer: Any, scope: dict[str, Any]) -> None:
    """Daphne takes the first address that is named, which may be the client's own invention."""
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


def _part(request: Any) -> None:
    """Close its connection after the answer, and say so if that has not begun."""
    request.channel.persistent = False
    if not request.startedWriting:
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])


# Daphne's connections, bounded: how long a request takes to come in, and how large it is.
#
# Of heads Twisted takes 16 KiB and 500 lines by itself. A body it keeps, beyond 100 KiB on disk,
# until it has all of it, and before the application hears of it.


TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class BoundedRequest(WebRequest):  # type: ignore[misc]
    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        if self.content.tell() + len(data) <= get_settings().MAX_REQUEST_BYTES:
            super().handleContentChunk(data)
            return
        channel = self.channel
        channel.transport.write(TOO_LARGE)
        channel.dataReceived = lambda _: None
        channel.loseConnection()

    def requestReceived(self, *args: Any) -> None:  # noqa: N802
        self.channel.carillon_asked = True
        super().requestReceived(*args)


class BoundedFactory(HTTPFactory):  # type: ignore[misc]
    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self._patience: Patience[Any] = Patience(self._owes, _cut)

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = BoundedRequest
        self._patience.watch(protocol._channel)  # noqa: SLF001 - the one that is negotiated first
        return protocol

    def _owes(self, channel: Any) -> Debt:
        if not getattr(channel.transport, "connected", False):
            return Owed.GONE
        if channel._handlingRequest:  # noqa: SLF001
            return Owed.NOTHING
        asked = getattr(channel, "carillon_asked", False)
        request = channel.requests[-1] if channel.requests else None
        if request is not None and request.content is not None:
            return id(request), request.content.tell() // self._patience.stride
        if not asked:
            return Owed.FIRST
        if request is None and not channel._buffer:  # noqa: SLF001
            return Owed.NOTHING
        return id(request), -1


def _cut(channel: Any) -> None:
    channel.transport.abortConnection()

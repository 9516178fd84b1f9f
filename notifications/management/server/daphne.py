"""Daphne, driven by a lifecycle.

docs/extend.md has all undocumented attributes of Daphne and Twisted that this module uses.
"""

from contextlib import suppress
from typing import Any

from daphne.http_protocol import WebRequest
from daphne.server import Server, twisted_loop
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.tcp import Server as Connection

from notifications.asgi.daphne_requests import BoundedFactory
from notifications.hub.client_ip import set_client_behind_proxies
from notifications.management.server.lifecycle import Lifecycle

reactor: Any = installed_reactor  # a module, to type checkers

FORWARDED = {
    "proxy_forwarded_address_header": "X-Forwarded-For",
    "proxy_forwarded_port_header": "X-Forwarded-Port",
    "proxy_forwarded_proto_header": "X-Forwarded-Proto",
}


class DaphneServer(Server):  # type: ignore[misc]
    def __init__(self, application: Any, lifecycle: Lifecycle, *, proxy_headers: bool) -> None:
        forwarded = FORWARDED if proxy_headers else {}
        # Daphne's constructor refuses a server without endpoints.
        super().__init__(application, endpoints=["none"], signal_handlers=False, **forwarded)
        self.endpoints.clear()
        self._lifecycle = lifecycle
        self._ports: list[Any] = []

    def run(self) -> None:
        self._lifecycle.commands.attach(twisted_loop)
        lifecycle = twisted_loop.create_task(self._lifecycle.run(self))
        super().run()
        lifecycle.result()

    async def accept(self) -> None:
        factory = BoundedFactory(self)
        for listener in self._lifecycle.listeners:
            listener.setblocking(False)
            port = reactor.adoptStreamPort(listener.fileno(), listener.family, factory)
            self._ports.append(port)

    def stop_accepting(self) -> None:
        while self._ports:
            self._ports.pop().stopListening()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if isinstance(protocol, WebRequest) and self.proxy_forwarded_address_header:
            set_client_behind_proxies(protocol.client, scope)
        return super().create_application(protocol, scope)

    @property
    def is_responding(self) -> bool:
        requests = [request for request in self.connections if isinstance(request, WebRequest)]
        applications = [self.connections[each].get("application_instance") for each in requests]
        return any(each is not None and not each.done() for each in applications)

    def close_connections(self) -> None:
        for reader in reactor.getReaders():
            if isinstance(reader, Connection):
                connection: Any = reader
                # An idle connection would wait for its producer, which writes nothing.
                connection.unregisterProducer()
                connection.loseConnection()

    @property
    def has_connections(self) -> bool:
        watched = [*reactor.getReaders(), *reactor.getWriters()]
        return any(isinstance(item, Connection) for item in watched)

    def exit(self) -> None:
        with suppress(ReactorNotRunning):
            self.stop()

    def kill_all_applications(self) -> Deferred[None]:
        # Daphne fails at a connection whose application has not begun, and then cancels none.
        for protocol, details in list(self.connections.items()):
            if "application_instance" not in details:
                del self.connections[protocol]
        killed: Deferred[None] = super().kill_all_applications()
        return killed

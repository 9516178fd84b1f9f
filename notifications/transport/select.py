"""The choice of the transport for one client, by what the server passed to us as `send`."""

from collections.abc import Callable, Mapping
from typing import Any

from notifications.telemetry.logs import logger
from notifications.transport.asgi import AsgiTransport
from notifications.transport.base import Send, Transport
from notifications.transport.daphne import daphne_connection, daphne_transport
from notifications.transport.detach import ServerConnection, can_be_detached
from notifications.transport.uvicorn import uvicorn_connection, uvicorn_transport
from notifications.transport.wrappers import is_servers_own, name_of, unwrap

SERVER_CONNECTIONS = (uvicorn_connection, daphne_connection)
"""Each returns the connection behind its own server's `send`; None if the `send` is of another
server, or the socket cannot be taken out."""
SERVER_TRANSPORTS = (uvicorn_transport, daphne_transport)
"""Each returns a transport for a response that stays with its own server, or None."""

_reported: list[str] = []
"""The wrapper that has been reported, so that each process reports one."""


def server_connection(send: Send, scope: Mapping[str, Any]) -> ServerConnection | None:
    """The connection of this request if its stream can leave the server.

    Ask right before the head is sent, and let the head say `Connection: close`.

    A middleware that wraps `send` may look at every message, so a wrapped `send` has none, unless
    the wrapper is known to pass bodies on as they are.
    """
    connection = _first(SERVER_CONNECTIONS, unwrap(send)) if can_be_detached(scope) else None
    if connection is not None:
        connection.prepare()
    return connection


def select_transport(send: Send, *, cancel: Callable[[], object]) -> Transport:
    """A transport for a response that stays with its server: the server's own, or an
    `AsgiTransport`. `cancel` has to end the application's call for this request.
    """
    server_send = unwrap(send)
    transport = _first(SERVER_TRANSPORTS, server_send, send=send, cancel=cancel)
    if transport is not None:
        return transport
    if not _reported and not is_servers_own(server_send):
        _reported.append(name_of(server_send))
        logger.warning(
            "transport.wrapped",
            send=_reported[0],
            hint="This function is between Carillon and the server, and may look at the body of a "
            "response, so each event passes it for each stream, which costs CPU. Pass its "
            "middleware to get_asgi_application(request_middleware=[...]).",
        )
    return AsgiTransport(send, cancel=cancel)


def _first[T](
    candidates: tuple[Callable[..., T | None], ...], server_send: Send, **options: Any
) -> T | None:
    for candidate in candidates:
        try:
            found = candidate(server_send, **options)
        except Exception:
            # A server version whose internals differ from those we know is still an ASGI server.
            logger.exception("transport.unknown_server")
        else:
            if found is not None:
                return found
    return None

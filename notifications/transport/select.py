"""The choice of the transport for one client, by what the server passed to us as `send`."""

import logging
from collections.abc import Callable

from notifications.transport.asgi import AsgiTransport
from notifications.transport.base import Send, Transport
from notifications.transport.daphne import daphne_transport
from notifications.transport.uvicorn import uvicorn_transport

logger = logging.getLogger("carillon")

SERVER_TRANSPORTS = (uvicorn_transport, daphne_transport)
"""Each returns a transport for its own server, or None if `send` belongs to another one."""


def select_transport(send: Send, *, cancel: Callable[[], object]) -> Transport:
    """The server's own transport, or an `AsgiTransport` if the server is another.

    A middleware that wraps `send` expects to see every message, so a wrapped `send` gets an
    `AsgiTransport` too. `cancel` has to end the application's call for this request.
    """
    for server_transport in SERVER_TRANSPORTS:
        try:
            transport = server_transport(send, cancel=cancel)
        except Exception:
            # A server version whose internals differ from those we know is still an ASGI server.
            logger.exception("transport.unknown_server")
        else:
            if transport is not None:
                return transport
    return AsgiTransport(send, cancel=cancel)

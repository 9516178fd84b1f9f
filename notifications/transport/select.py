"""Which wire serves a client, found by the features of what its server calls `send`."""

import logging
from collections.abc import Callable

from notifications.transport.asgi import AsgiTransport
from notifications.transport.base import Send, Transport
from notifications.transport.daphne import daphne_transport
from notifications.transport.uvicorn import uvicorn_transport

logger = logging.getLogger("carillon")

KINDS = (uvicorn_transport, daphne_transport)


def select_transport(send: Send, *, give_up: Callable[[], object]) -> Transport:
    """The wire of this server; an `AsgiTransport` for any other, and wherever `send` is wrapped."""
    for kind in KINDS:
        try:
            transport = kind(send, give_up=give_up)
        except Exception:
            # A version with other insides than ours were made for is still an ASGI server.
            logger.exception("wire.unknown")
        else:
            if transport is not None:
                return transport
    return AsgiTransport(send, give_up=give_up)

"""Which wire serves a client, found by the features of what its server calls `send`."""

import logging
from collections.abc import Callable

from notifications.transport.asgi import AsgiWire
from notifications.transport.base import Send, Wire
from notifications.transport.daphne import daphne_wire
from notifications.transport.uvicorn import uvicorn_wire

logger = logging.getLogger("carillon")

KINDS = (uvicorn_wire, daphne_wire)


def wire_for(send: Send, *, give_up: Callable[[], object]) -> Wire:
    """The wire of this server; an `AsgiWire` for any other, and wherever `send` is wrapped."""
    for kind in KINDS:
        try:
            wire = kind(send, give_up=give_up)
        except Exception:
            # A version with other insides than ours were made for is still an ASGI server.
            logger.exception("wire.unknown")
        else:
            if wire is not None:
                return wire
    return AsgiWire(send, give_up=give_up)

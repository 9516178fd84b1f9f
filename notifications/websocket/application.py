"""The ASGI application that a route leads to: one WebSocket, from its handshake to its end."""

from typing import Any

from django.core.exceptions import SuspiciousOperation

from notifications.access.origins import is_foreign
from notifications.hub import runtime
from notifications.transport.base import Receive, Send
from notifications.transport.cancel import CancelScope
from notifications.websocket.connection import Carrier
from notifications.websocket.handshake import Handshake
from notifications.websocket.multiplex import Socket
from notifications.websocket.protocol import SUBPROTOCOL
from notifications.websocket.session import Conversation


async def events(scope: Any, receive: Receive, send: Send) -> None:
    """Refuses with 403, by closing before it accepts: a foreign page, or another protocol.

    All else is said on the connection, since a page sees neither status nor body of a refusal.
    """
    if scope["type"] != "websocket":
        raise ValueError("This route is for WebSockets: put it where ProtocolTypeRouter has them.")
    if (await receive())["type"] != "websocket.connect":
        return
    handshake = Handshake(scope)
    offered = scope.get("subprotocols") or []
    if _is_foreign(handshake) or (offered and SUBPROTOCOL not in offered):
        await send({"type": "websocket.close"})
        return
    runtime.start()
    chosen = SUBPROTOCOL if offered else None
    await send({"type": "websocket.accept", "subprotocol": chosen})
    await _converse(handshake, receive, send)


def _is_foreign(handshake: Handshake) -> bool:
    try:
        return is_foreign(handshake.request())
    except SuspiciousOperation:  # a host that is not this site's
        return True


async def _converse(handshake: Handshake, receive: Receive, send: Send) -> None:
    with CancelScope() as giving_up:
        conversation = Conversation(Socket(Carrier(send, give_up=giving_up.now)), handshake)
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                conversation.hear(message)
        finally:
            conversation.leave()

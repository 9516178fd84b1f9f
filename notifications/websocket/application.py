"""The ASGI application for `ws/events/`: one WebSocket, from its handshake to its end."""

from typing import Any

from django.core.exceptions import SuspiciousOperation

from notifications.access.origins import has_disallowed_origin
from notifications.hub import runtime
from notifications.transport.base import Receive, Send
from notifications.transport.cancel import CancelScope
from notifications.websocket.connection import WebSocketConnection
from notifications.websocket.handshake import Handshake
from notifications.websocket.multiplex import Multiplexer
from notifications.websocket.protocol import SUBPROTOCOL
from notifications.websocket.session import IDLE_SECONDS, WebSocketSession


async def events(
    scope: Any, receive: Receive, send: Send, *, idle_seconds: float = IDLE_SECONDS
) -> None:
    """Serves subscriptions. A page of a foreign origin, or another subprotocol, is refused (403).

    Every other error is sent on the connection, because a page cannot see the status or the body
    of a refused handshake.
    """
    if scope["type"] != "websocket":
        raise ValueError(
            "This route serves WebSockets: put it under 'websocket' in ProtocolTypeRouter."
        )
    if (await receive())["type"] != "websocket.connect":
        return
    handshake = Handshake(scope)
    offered = scope.get("subprotocols") or []
    if _is_foreign(handshake) or (offered and SUBPROTOCOL not in offered):
        await send({"type": "websocket.close"})
        return
    runtime.start()
    subprotocol = SUBPROTOCOL if offered else None
    await send({"type": "websocket.accept", "subprotocol": subprotocol})
    with CancelScope() as cancel_scope:
        connection = WebSocketConnection(send, cancel=cancel_scope.cancel)
        multiplexer = Multiplexer(connection)
        session = WebSocketSession(multiplexer, handshake, idle_seconds=idle_seconds)
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                session.receive(message)
        finally:
            session.disconnected()
            multiplexer.release()


def _is_foreign(handshake: Handshake) -> bool:
    try:
        return has_disallowed_origin(handshake.request())
    except SuspiciousOperation:  # a host that is not in ALLOWED_HOSTS
        return True

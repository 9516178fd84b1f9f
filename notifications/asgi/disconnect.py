"""Whether a client has left while Django handled its request."""

from notifications.transport.base import Message, Receive, receive_disconnect


class DisconnectWatch:
    """The `receive` that Django gets. It remembers whether the client has disconnected.

    Django itself awaits `receive` while it sends a response, and may be the one that receives the
    disconnect. A server need not send that message twice.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.disconnected = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self.disconnected = message["type"] == "http.disconnect"
        return message

    def release(self) -> None:
        """The request is over: hold nothing of the server any more, as in `Handoff.release`."""
        self._receive = receive_disconnect

"""Pacing: what streams through Django goes no faster than its client reads.

Other servers see to it in `send`. Daphne takes all it is given and keeps it until it can be sent,
and after an error it leaves the connection open, as if more were to come.
"""

import asyncio
from typing import Any

from notifications.wires.base import Message, Send
from notifications.wires.daphne import daphne_request


class Paced:
    """`send` for one response of Daphne's: it waits while the transport's buffer is too full."""

    def __init__(self, send: Send, request: Any) -> None:
        self._send = send
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._clear = asyncio.Event()
        self._clear.set()
        request.registerProducer(self, True)

    async def __call__(self, message: Message) -> None:
        if not message.get("more_body") and message["type"] == "http.response.body":
            self._release()
        await self._send(message)
        await self._clear.wait()

    def _release(self) -> None:
        if self._request.producer is self:
            self._request.unregisterProducer()
        self._clear.set()

    def cut(self) -> None:
        """End it where it is, so that nobody takes what there is for the whole."""
        self._release()
        transport = getattr(self._request.channel, "transport", None)
        if transport is not None:
            transport.abortConnection()

    # Twisted's names, of an IPushProducer

    def pauseProducing(self) -> None:  # noqa: N802
        self._clear.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self._clear.set()

    def stopProducing(self) -> None:  # noqa: N802
        # The client is gone, which `receive` tells too.
        self._clear.set()


def paced(send: Send) -> Paced | None:
    """None where the server itself minds how fast its client reads."""
    request = daphne_request(send)
    return None if request is None else Paced(send, request)

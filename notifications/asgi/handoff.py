"""The hand-off: a stream leaves Django's request behind.

Stock Django keeps a thread, a request and what hangs on them for as long as a response streams.
Here an `EventStreamResponse` gives Django its headers and nothing more, so that the request ends in
good order (`response.close`, `request_finished`, the thread released), and streams only then.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.http.response import HttpResponseBase

from notifications.asgi.responses import EventStreamResponse
from notifications.asgi.server_warnings import look_once
from notifications.hub.stream import EventStream
from notifications.hub.subscribers import CloseReason
from notifications.transport.base import Message, Receive, Send
from notifications.transport.cancel import CancelScope
from notifications.transport.daphne import paced
from notifications.transport.select import select_transport

logger = logging.getLogger("carillon")


class Latch:
    """`receive` that remembers a disconnect: Django listens too, and may be who hears it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.disconnected = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self.disconnected = message["type"] == "http.disconnect"
        return message


class Handoff:
    """`send` for Django, which knows the stream that its request has led to."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.stream: EventStream | None = None

    async def __call__(self, message: Message) -> None:
        try:
            await self._send(message)
        except RuntimeError:
            # uvloop's, where uvicorn has closed the connection over what the client pipelined.
            if not _has_closed(self._send):
                raise

    @contextmanager
    def pacing(self) -> Iterator[None]:
        """What is sent meanwhile waits for the client; if it fails, it is cut and not ended."""
        pace = paced(self._send)
        if pace is None:
            yield
            return
        self._send = pace
        try:
            yield
        except Exception:
            pace.cut()
            raise

    def takes(self, response: HttpResponseBase) -> bool:
        """Take the stream out of its response, unless there is none or a middleware holds it.

        Django then sends the headers and nothing else.
        """
        if isinstance(response, EventStreamResponse):
            self.stream = response.untouched_stream
            if self.stream is None:
                _say_once(response)
        return self.stream is not None


def _has_closed(send: Send) -> bool:
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    return transport is not None and bool(transport.is_closing())


async def carry(stream: EventStream, receive: Receive, send: Send) -> None:
    """Until the client leaves. The hub writes; this only waits."""
    refusal = await stream.refusal()
    if refusal is not None:
        await send({"type": "http.response.body", "body": refusal, "more_body": False})
        return
    look_once(send)
    with CancelScope() as giving_up:
        hub, subscriber = stream.open(select_transport(send, give_up=giving_up.now))
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            hub.leave(subscriber, CloseReason.CLIENT_LEFT)
    if stream.end_notice is not None:
        await stream.end_notice()


_said: set[type] = set()


def _say_once(response: EventStreamResponse) -> None:
    if type(response) not in _said:
        _said.add(type(response))
        logger.warning(
            "handoff.refused: a middleware wraps the iterator of streaming responses, so each "
            "stream keeps a thread and a request. Let it pass those of type %s.",
            response.headers["Content-Type"],
        )

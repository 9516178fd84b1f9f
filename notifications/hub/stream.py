"""A stream before and while it is open: the topics, where it begins, and its place in the hub."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from notifications.hub import runtime
from notifications.hub.encoders import PLAIN, Encoder
from notifications.hub.grants import Grant
from notifications.hub.hub import Hub
from notifications.hub.subscribers import CloseReason, Start, Subscriber
from notifications.telemetry.counters import process_counters
from notifications.transport.base import Payload, Transport
from notifications.transport.pull import PullTransport

READY_TIMEOUT = 2.0
"""Seconds that a new stream waits for a process that has just started to load its window."""

type EndNotice = Callable[[], Awaitable[object]]
"""What is to happen once the client has left."""


class EventStream:
    """What is streamed: topics, and where to begin. It joins the hub when it is opened.

    Iterating over it joins too, and is what happens wherever the stream is not handed off.
    """

    def __init__(
        self,
        grant: Grant,
        start: Start,
        encoder: Encoder = PLAIN,
        *,
        end_notice: EndNotice | None = None,
    ) -> None:
        self.end_notice = end_notice
        self._grant = grant
        self._start = _from_here(start)
        self._form = encoder
        self._address: str | None = None
        self._transport: PullTransport | None = None
        self._joined: tuple[Hub, Subscriber] | None = None

    def comes_from(self, scope: Mapping[str, Any]) -> None:
        """By which connection, for the quota of its address."""
        self._address = runtime.start().quotas.address(scope)

    async def refusal(self) -> bytes | None:
        """What is said instead of all else where it cannot be opened now; or else open it at once.

        A process that has just started loads its window first.
        """
        here = runtime.start()
        if not await here.wait_ready(timeout=READY_TIMEOUT):
            return last_words(here.refusal, self._form)
        reason = here.quotas.refusal(self._names(here))
        return None if reason is None else last_words(reason, self._form)

    def open(self, transport: Transport) -> tuple[Hub, Subscriber]:
        """Join the hub of the running loop. Raises `RuntimeError` if that has no window yet."""
        here = runtime.start()
        subscriber = here.subscribe(
            self._grant, transport, self._start, encoder=self._form, names=self._names(here)
        )
        return here.hub, subscriber

    def _names(self, here: runtime.Runtime) -> tuple[str, ...]:
        return here.quotas.names(self._address, self._grant)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._transport is None:
            self._transport = PullTransport()
            refusal = await self.refusal()
            if refusal is None:
                self._joined = self.open(self._transport)
            else:
                self._transport.end(Payload(refusal))
        chunk = await self._transport.pull()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        if self._joined is not None:
            hub, subscriber = self._joined
            hub.leave(subscriber, CloseReason.CLIENT_LEFT)
            if self.end_notice is not None:
                await self.end_notice()


def _from_here(start: Start) -> Start:
    """A stream that begins now begins where its response was made: nothing after that is missed."""
    if start.cursor is not None or start.since_ms is not None or start.cursors:
        return start
    try:
        here = runtime.here()
    except RuntimeError:  # a synchronous view, in a thread without a loop
        return start
    return Start(cursor=here.hub.head) if here is not None and here.ready else start


def last_words(reason: CloseReason, encoder: Encoder = PLAIN) -> bytes:
    """For a stream that does not begin."""
    process_counters.refused[reason] += 1
    return encoder.closing(reason)

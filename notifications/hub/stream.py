"""A stream before and while it is open: the topics, where it begins, and its place in the hub."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from notifications.hub import runtime
from notifications.hub.encoders import PLAIN, Form
from notifications.hub.grants import Grant
from notifications.hub.hub import Hub
from notifications.hub.subscribers import CloseReason, Start, Subscriber
from notifications.telemetry.counters import tally
from notifications.transport.base import Parcel, Wire
from notifications.transport.pull import PullWire

READY_TIMEOUT = 2.0
"""Seconds that a new stream waits for a process that has just started to load its window."""

type Witness = Callable[[], Awaitable[object]]
"""What is to happen once the client has left."""


class EventStream:
    """What is streamed: topics, and where to begin. It joins the hub when it is opened.

    Iterating over it joins too, and is what happens wherever the stream is not handed off.
    """

    def __init__(
        self,
        grant: Grant,
        start: Start,
        form: Form = PLAIN,
        *,
        witness: Witness | None = None,
    ) -> None:
        self.witness = witness
        self._grant = grant
        self._start = _from_here(start)
        self._form = form
        self._address: str | None = None
        self._wire: PullWire | None = None
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

    def open(self, wire: Wire) -> tuple[Hub, Subscriber]:
        """Join the hub of the running loop. Raises `RuntimeError` if that has no window yet."""
        here = runtime.start()
        subscriber = here.subscribe(
            self._grant, wire, self._start, form=self._form, names=self._names(here)
        )
        return here.hub, subscriber

    def _names(self, here: runtime.Runtime) -> tuple[str, ...]:
        return here.quotas.names(self._address, self._grant)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._wire is None:
            self._wire = PullWire()
            refusal = await self.refusal()
            if refusal is None:
                self._joined = self.open(self._wire)
            else:
                self._wire.end(Parcel(refusal))
        chunk = await self._wire.pull()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        if self._joined is not None:
            hub, subscriber = self._joined
            hub.leave(subscriber, CloseReason.CLIENT_LEFT)
            if self.witness is not None:
                await self.witness()


def _from_here(start: Start) -> Start:
    """A stream that begins now begins where its response was made: nothing after that is missed."""
    if start.cursor is not None or start.since_ms is not None or start.cursors:
        return start
    try:
        here = runtime.here()
    except RuntimeError:  # a synchronous view, in a thread without a loop
        return start
    return Start(cursor=here.hub.head) if here is not None and here.ready else start


def last_words(reason: CloseReason, form: Form = PLAIN) -> bytes:
    """For a stream that does not begin."""
    tally.refused[reason] += 1
    return form.closing(reason)

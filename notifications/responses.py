"""The response that a Django view returns for an event stream."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse

from notifications import runtime, sse
from notifications.forms import ENVELOPED, PLAIN, Form
from notifications.grants import Grant
from notifications.hub import Hub
from notifications.subscribers import CloseReason, Start, Subscriber
from notifications.tallies import tally
from notifications.topics import topics as check_topics
from notifications.wires.base import Parcel, Wire
from notifications.wires.pull import PullWire

HEADERS = {
    "Content-Type": sse.CONTENT_TYPE,
    "Cache-Control": "no-cache, no-store, no-transform",
    # nginx holds back a response unless it is told not to.
    "X-Accel-Buffering": "no",
}
READY_TIMEOUT = 2.0


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


class EventStreamResponse(StreamingHttpResponse):
    """Streams the events of some topics, from `start` on. The view has seen to who may hear them.

    With a `Grant` in their place, the stream ends when that does.

    Under `notifications.asgi.get_asgi_application()` the stream is handed off: Django's request
    ends at once, and nothing of it is held. Under any other handler, and in the test client, it is
    iterated over. Raises `Invalid` for what is no topic.
    """

    def __init__(
        self,
        topics: Iterable[str] | Grant,
        *,
        start: Start | None = None,
        envelope: bool = False,
        witness: Witness | None = None,
        form: Form | None = None,
    ) -> None:
        grant = topics if isinstance(topics, Grant) else Grant(topics=check_topics(topics))
        form = form or (ENVELOPED if envelope else PLAIN)
        self._stream = EventStream(grant, start or Start(), form, witness=witness)
        super().__init__(self._stream, headers=HEADERS)

    @property
    def stream(self) -> EventStream:
        """The stream, whatever a middleware or a test client put around it."""
        return self._stream

    @property
    def untouched_stream(self) -> EventStream | None:
        """The stream, unless a middleware put an iterator of its own around it."""
        return self._stream if vars(self)["_iterator"] is self._stream else None

    def __aiter__(self) -> AsyncIterator[bytes]:
        # Django's own wraps the source in a generator that is not closed when the client vanishes
        # while a send is blocked (ticket 37066).
        if self.untouched_stream is None:
            return super().__aiter__()
        return self._stream


def last_words(reason: CloseReason, form: Form = PLAIN) -> bytes:
    """For a stream that does not begin."""
    tally.refused[reason] += 1
    return form.closing(reason)


def closing_response(reason: CloseReason, form: Form = PLAIN) -> HttpResponse:
    """A stream that says why it ends at once: what is temporary must not be an HTTP error.

    A browser's EventSource gives up for good on any status but 200.
    """
    return HttpResponse(last_words(reason, form), headers=HEADERS)

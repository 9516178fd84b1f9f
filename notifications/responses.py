"""The response that a Django view returns for an event stream."""

from collections.abc import AsyncIterator, Iterable

from django.http import HttpResponse, StreamingHttpResponse

from notifications import blocks, runtime, sse
from notifications.hub import Hub
from notifications.subscribers import CloseReason, Start, Subscriber
from notifications.topics import topics as check_topics
from notifications.wire import PullWire, Wire

HEADERS = {
    "Content-Type": sse.CONTENT_TYPE,
    "Cache-Control": "no-cache, no-transform",
    # nginx holds back a response unless it is told not to.
    "X-Accel-Buffering": "no",
}


class EventStream:
    """What is streamed: topics, and where to begin. It joins the hub when it is opened.

    Iterating over it joins too, and is what happens wherever the stream is not handed off.
    """

    def __init__(self, topics: frozenset[str], start: Start, *, envelope: bool) -> None:
        self._topics = topics
        self._start = start
        self._envelope = envelope
        self._wire: PullWire | None = None
        self._joined: tuple[Hub, Subscriber] | None = None

    def open(self, wire: Wire) -> tuple[Hub, Subscriber]:
        """Join the hub of the running loop. Raises `RuntimeError` if its window is not loaded."""
        here = runtime.start()
        subscriber = here.subscribe(self._topics, wire, self._start, envelope=self._envelope)
        return here.hub, subscriber

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._wire is None:
            self._wire = PullWire()
            self._joined = self.open(self._wire)
        chunk = await self._wire.pull()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        if self._joined is not None:
            hub, subscriber = self._joined
            hub.leave(subscriber, CloseReason.CLIENT_LEFT)


class EventStreamResponse(StreamingHttpResponse):
    """Streams the events of some topics, from `start` on. The view has seen to who may hear them.

    Under `notifications.asgi.get_asgi_application()` the stream is handed off: Django's request
    ends at once, and nothing of it is held. Under any other handler, and in the test client, it is
    iterated over. Raises `Invalid` for what is no topic.
    """

    def __init__(
        self, topics: Iterable[str], *, start: Start | None = None, envelope: bool = False
    ) -> None:
        asked = frozenset(check_topics(topics))
        self._stream = EventStream(asked, start or Start(), envelope=envelope)
        super().__init__(self._stream, headers=HEADERS)

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


def closing_response(reason: CloseReason) -> HttpResponse:
    """A stream that says why it ends at once: what is temporary must not be an HTTP error.

    A browser's EventSource gives up for good on any status but 200.
    """
    return HttpResponse(blocks.closing(reason), headers=HEADERS)

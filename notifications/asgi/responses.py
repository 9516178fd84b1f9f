"""The response that a Django view returns for an event stream."""

from collections.abc import AsyncIterator, Iterable

from django.http import HttpResponse, StreamingHttpResponse

from notifications import sse
from notifications.hub.encoders import ENVELOPED, PLAIN, Encoder
from notifications.hub.grants import Grant
from notifications.hub.stream import EndNotice, EventStream, last_words
from notifications.hub.subscribers import CloseReason, Start
from notifications.topics import topics as check_topics

HEADERS = {
    "Content-Type": sse.CONTENT_TYPE,
    "Cache-Control": "no-cache, no-store, no-transform",
    # nginx holds back a response unless it is told not to.
    "X-Accel-Buffering": "no",
}


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
        end_notice: EndNotice | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        grant = topics if isinstance(topics, Grant) else Grant(topics=check_topics(topics))
        encoder = encoder or (ENVELOPED if envelope else PLAIN)
        self._stream = EventStream(grant, start or Start(), encoder, end_notice=end_notice)
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


def closing_response(reason: CloseReason, encoder: Encoder = PLAIN) -> HttpResponse:
    """A stream that says why it ends at once: what is temporary must not be an HTTP error.

    A browser's EventSource gives up for good on any status but 200.
    """
    return HttpResponse(last_words(reason, encoder), headers=HEADERS)

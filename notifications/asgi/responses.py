"""`EventStreamResponse`, which a Django view returns for an event stream."""

from collections.abc import AsyncIterator, Iterable

from django.http import HttpResponse, StreamingHttpResponse

from notifications import sse
from notifications.conf.namespace import Namespace, current
from notifications.hub.encoders import ENVELOPED, PLAIN, Encoder
from notifications.hub.grants import Grant
from notifications.hub.stream import EndNotice, EventStream, refusal_block
from notifications.hub.subscribers import CloseReason, Start
from notifications.topics import parse_topics

STREAM_HEADERS = {
    "Content-Type": sse.CONTENT_TYPE,
    "Cache-Control": "no-cache, no-store, no-transform",
    # nginx buffers a response unless this header forbids it.
    "X-Accel-Buffering": "no",
}


class EventStreamResponse(StreamingHttpResponse):
    """Streams the events of `topics`, from `start` on, or from now.

    The view is responsible for authorization: it must check that the user may subscribe to these
    topics. If the view passes a `Grant` in place of topics, the stream ends when the grant does.

    Under `notifications.asgi.get_asgi_application()` the stream is handed off: Django's request
    ends at once and is freed. Under any other handler, and in the test client, the response is
    iterated over. The topics are those of the caller's tenant, unless a `namespace` is given.
    Raises `Invalid` for an invalid topic.
    """

    def __init__(
        self,
        topics: Iterable[str] | Grant,
        *,
        start: Start | None = None,
        envelope: bool = False,
        end_notice: EndNotice | None = None,
        encoder: Encoder | None = None,
        namespace: Namespace | None = None,
    ) -> None:
        if isinstance(topics, Grant):
            grant = topics
        else:
            namespace = current() if namespace is None else namespace
            grant = Grant(topics=parse_topics(topics), namespace=namespace)
        encoder = encoder or (ENVELOPED if envelope else PLAIN)
        self._stream = EventStream(grant, start or Start(), encoder, end_notice=end_notice)
        super().__init__(self._stream, headers=STREAM_HEADERS)

    @property
    def stream(self) -> EventStream:
        """The stream, even if a middleware or a test client has wrapped the iterator.

        A response whose stream has been handed off has none any more.
        """
        return self._stream

    @property
    def unwrapped_stream(self) -> EventStream | None:
        """The stream, or None if a middleware has replaced the response's iterator."""
        # Django's public `streaming_content` returns a new iterator each time it is read, so only
        # the private attribute tells whether a middleware has set it.
        iterator = self._iterator  # type: ignore[attr-defined]
        return self._stream if iterator is self._stream else None

    def detach_stream(self) -> EventStream | None:
        """Take the stream out. None if a middleware has replaced the response's iterator."""
        stream = self.unwrapped_stream
        if stream is not None:
            # Django's exceptions may keep the response for a while, but no stream that has ended.
            self.streaming_content = ()
            # Django closes the stream with the response, unless the stream lasts longer.
            self._resource_closers.remove(stream.close)  # type: ignore[attr-defined]
            del self._stream
        return stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        # Django's own `__aiter__` wraps the source in a generator. That is not closed if the client
        # vanishes while a send is blocked (ticket 37066).
        if self.unwrapped_stream is None:
            return super().__aiter__()
        return self._stream


def closing_response(reason: CloseReason, encoder: Encoder = PLAIN) -> HttpResponse:
    """A stream that ends at once and gives the reason, for refusals that are temporary.

    A temporary refusal must not be an HTTP error: a browser's EventSource does not connect again
    after any status but 200.
    """
    return HttpResponse(refusal_block(reason, encoder), headers=STREAM_HEADERS)

"""`EventStreamResponse`, which a Django view returns for an event stream."""

from collections.abc import AsyncIterator, Iterable

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase, ResponseHeaders

from notifications import sse
from notifications.conf.namespace import Namespace, current
from notifications.errors import Invalid
from notifications.hub.dialects import DIALECTS
from notifications.hub.encoders import ENVELOPED, PLAIN, Encoder
from notifications.hub.end_notices import EndNotice
from notifications.hub.grants import Grant
from notifications.hub.stream import EventStream
from notifications.hub.subscribers import CloseReason, Start
from notifications.topics import parse_topics
from notifications.transport.base import Message

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
    iterated over. With a `dialect` (`htmx`, `turbo`, `datastar`) it carries HTML for pages of that
    library, and no other events. The topics are those of the caller's tenant, unless a `namespace`
    is given. Raises `Invalid` for an invalid topic.
    """

    def __init__(
        self,
        topics: Iterable[str] | Grant,
        *,
        start: Start | None = None,
        envelope: bool = False,
        end_notice: EndNotice | None = None,
        dialect: str = "",
        encoder: Encoder | None = None,
        namespace: Namespace | None = None,
        refused: CloseReason | None = None,
    ) -> None:
        if isinstance(topics, Grant):
            grant = topics
        else:
            namespace = current() if namespace is None else namespace
            grant = Grant(topics=parse_topics(topics), namespace=namespace)
        encoder = encoder or chosen_encoder(envelope=envelope, dialect=dialect)
        start = start or Start()
        self._stream = EventStream(grant, start, encoder, end_notice=end_notice, refused=refused)
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


def chosen_encoder(*, envelope: bool, dialect: str) -> Encoder:
    """Raises `Invalid` for a dialect that does not exist, or for both at once."""
    if not dialect:
        return ENVELOPED if envelope else PLAIN
    if dialect not in DIALECTS:
        raise Invalid(f"There is no dialect {dialect!r}: {', '.join(DIALECTS)}.", field="as")
    if envelope:
        raise Invalid(f"A stream for {dialect} has HTML, and no envelopes.", field="envelope")
    return DIALECTS[dialect]


def start_message(response: HttpResponseBase) -> Message:
    """The status and the headers, as Django sends them."""
    headers = response.headers
    # `items()` looks each header up by its name in lower case.
    items = headers._store.values() if type(headers) is ResponseHeaders else headers.items()  # noqa: SLF001
    encoded = [(name.encode("ascii"), text.encode("latin1")) for name, text in items]
    if response.cookies:
        for cookie in response.cookies.values():
            encoded.append((b"Set-Cookie", cookie.OutputString().encode("ascii")))  # noqa: PERF401
    return {"type": "http.response.start", "status": response.status_code, "headers": encoded}


def closing_response(reason: CloseReason, encoder: Encoder = PLAIN) -> EventStreamResponse:
    """A stream that ends soon and gives the reason, for refusals that are temporary.

    A temporary refusal must not be an HTTP error: a browser's EventSource does not connect again
    after any status but 200.
    """
    return EventStreamResponse(Grant(topics=()), encoder=encoder, refused=reason)

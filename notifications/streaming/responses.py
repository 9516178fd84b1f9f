"""The responses of views that stream: each piece that the view yields is sent at once.

This works on every server, under WSGI and ASGI.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

from notifications.streaming.django_internals import closers_of, content_of

_END: Any = object()


class UnbufferedResponse(StreamingHttpResponse):
    """A `StreamingHttpResponse` that holds nothing back, and closes its source when it ends.

    Its content is a sync or async iterator of text or bytes. If the iterator does not suit the
    server (a sync one under ASGI, an async one under WSGI), Django's own response reads all of it
    before it sends the first byte; here a thread, or an event loop, reads it piece by piece. And
    Django's own response leaves an async source to the garbage collector if the client vanishes
    while a send is blocked (ticket 37066).
    """

    def __init__(self, content: Any = (), *args: Any, **kwargs: Any) -> None:
        super().__init__(content, *args, **kwargs)
        self._source = content_of(self)
        # nginx buffers a response without the first header, and proxies that compress one
        # without `no-transform`.
        self.headers.setdefault("X-Accel-Buffering", "no")
        self.headers.setdefault("Cache-Control", "no-cache, no-transform")

    def __aiter__(self) -> AsyncIterator[bytes]:
        content = content_of(self)
        return self._send_pieces(content if self.is_async else _read_in_thread(content))

    async def _send_pieces(self, pieces: AsyncIterator[str | bytes]) -> AsyncIterator[bytes]:
        try:
            async for piece in pieces:
                yield self.make_bytes(piece)
                # A source that never waits must let other tasks run, and a disconnect be noticed.
                await asyncio.sleep(0)
        finally:
            # A middleware may have put an iterator of its own around the source.
            for iterator in (pieces, self._source):
                if hasattr(iterator, "aclose"):
                    await iterator.aclose()

    def __iter__(self) -> Iterator[bytes]:
        if not self.is_async:
            return super().__iter__()
        pieces = _read_on_loop(self.__aiter__())
        closers_of(self).append(pieces.close)
        return pieces


class StreamedFile(UnbufferedResponse):
    """Streams a file while an async generator makes it; with a `filename`, as a download.

    The name may be any text: a name that a header cannot hold is encoded by RFC 6266.
    """

    def __init__(
        self, source: AsyncGenerator[bytes], *, content_type: str, filename: str | None = None
    ) -> None:
        super().__init__(source, content_type=content_type)
        self["X-Content-Type-Options"] = "nosniff"
        if filename is not None:
            printable = "".join(char if char.isprintable() else "_" for char in filename)
            disposition = content_disposition_header(as_attachment=True, filename=printable)
            self["Content-Disposition"] = disposition or "attachment"


async def _read_in_thread(pieces: Iterator[str | bytes]) -> AsyncIterator[str | bytes]:
    take = sync_to_async(lambda: next(pieces, _END))
    try:
        while (piece := await take()) is not _END:
            yield piece
    finally:
        if hasattr(pieces, "close"):
            await sync_to_async(pieces.close)()


def _read_on_loop(pieces: Any) -> Generator[bytes]:
    async def take() -> Any:
        return await anext(pieces, _END)

    with asyncio.Runner() as runner:
        try:
            while (piece := runner.run(take())) is not _END:
                yield piece
        finally:
            runner.run(pieces.aclose())

"""The response of a view that streams: what the view yields goes out at once, on every server."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

_END: Any = object()


class UnbufferedResponse(StreamingHttpResponse):
    """A `StreamingHttpResponse` that holds nothing back, and closes its source when it ends.

    Its content is an iterator of text or bytes, synchronous or not. Of one that does not suit the
    server (a sync iterator under ASGI, an async one under WSGI) Django's own takes everything
    before it sends the first byte; here a thread, or an event loop, takes it piece by piece. And
    Django's own leaves an async source to the garbage collector if the client vanishes while a send
    is blocked (ticket 37066).
    """

    def __init__(self, content: Any = (), *args: Any, **kwargs: Any) -> None:
        super().__init__(content, *args, **kwargs)
        self._source = vars(self)["_iterator"]
        # nginx holds back a response unless it is told not to; others, what they compress.
        self.headers.setdefault("X-Accel-Buffering", "no")
        self.headers.setdefault("Cache-Control", "no-cache, no-transform")

    def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = vars(self)["_iterator"]
        return self._sent(pieces if self.is_async else _in_thread(pieces))

    async def _sent(self, pieces: AsyncIterator[str | bytes]) -> AsyncIterator[bytes]:
        try:
            async for piece in pieces:
                yield self.make_bytes(piece)
                # A source that never waits must let others work, and a disconnect be heard.
                await asyncio.sleep(0)
        finally:
            # A middleware may have put an iterator of its own around the source.
            for each in (pieces, self._source):
                if hasattr(each, "aclose"):
                    await each.aclose()

    def __iter__(self) -> Iterator[bytes]:
        if not self.is_async:
            return super().__iter__()
        pieces = _on_loop(self.__aiter__())
        closers: list[Callable[[], object]] = vars(self)["_resource_closers"]
        closers.append(pieces.close)
        return pieces


async def _in_thread(pieces: Iterator[str | bytes]) -> AsyncIterator[str | bytes]:
    take = sync_to_async(lambda: next(pieces, _END))
    try:
        while (piece := await take()) is not _END:
            yield piece
    finally:
        if hasattr(pieces, "close"):
            await sync_to_async(pieces.close)()


def _on_loop(pieces: Any) -> Generator[bytes]:
    async def take() -> Any:
        return await anext(pieces, _END)

    with asyncio.Runner() as runner:
        try:
            while (piece := runner.run(take())) is not _END:
                yield piece
        finally:
            runner.run(pieces.aclose())


# The response of a view that makes a file while it is being sent.


class StreamedFile(UnbufferedResponse):
    """Streams what an async generator yields, to be shown or, under a `filename`, to be kept.

    The name may be any text: what a header cannot say as it is, it says as RFC 6266 has it.
    """

    def __init__(
        self, source: AsyncGenerator[bytes], *, content_type: str, filename: str | None = None
    ) -> None:
        super().__init__(source, content_type=content_type)
        self["X-Content-Type-Options"] = "nosniff"
        if filename is not None:
            plain = "".join(each if each.isprintable() else "_" for each in filename)
            disposition = content_disposition_header(as_attachment=True, filename=plain)
            self["Content-Disposition"] = disposition or "attachment"

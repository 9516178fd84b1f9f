"""`/examples/streaming/` and `/examples/astreaming/`: pieces are sent as the view yields them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.views import View

from demo.slow_data import Row, aslow_rows, slow_rows
from notifications.streaming import UnbufferedResponse
from notifications.views.security_headers import protect

ROWS_MARKER = "<!-- rows -->"


class Chunks(View):
    """Streams a sync iterator. The iterator may block: it works in a thread."""

    source = staticmethod(slow_rows)

    def get(self, request: HttpRequest) -> UnbufferedResponse:
        if request.method == "HEAD":
            return protect(UnbufferedResponse())
        return protect(UnbufferedResponse(self._page(*_split_page(request, kind="sync"))))

    def _page(self, before: str, after: str) -> Iterator[str]:
        yield before
        with closing(self.source()) as rows:
            for row in rows:
                yield _item(row)
        yield after


class AsyncChunks(View):
    """Streams an async iterator. The iterator awaits, and holds no thread."""

    source = staticmethod(aslow_rows)

    async def get(self, request: HttpRequest) -> UnbufferedResponse:
        if request.method == "HEAD":
            return protect(UnbufferedResponse())
        return protect(UnbufferedResponse(self._page(*_split_page(request, kind="async"))))

    async def _page(self, before: str, after: str) -> AsyncIterator[str]:
        yield before
        # Without `aclosing`, the inner generator would be left to the garbage collector.
        async with aclosing(self.source()) as rows:
            async for row in rows:
                yield _item(row)
        yield after


def _split_page(request: HttpRequest, *, kind: str) -> tuple[str, str]:
    """The page before and after the rows, rendered first, so that an error in it is still a 500."""
    context = {"kind": kind, "rows_marker": ROWS_MARKER}
    page = render_to_string("demo/chunks.html", context, request)
    before, _, after = page.partition(ROWS_MARKER)
    return before, after


def _item(row: Row) -> str:
    return format_html("<li>{}</li>\n", " ".join(map(str, row)))

"""`/examples/streaming/` and `/examples/astreaming/`: what a view yields is sent at once."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.views import View

from demo import bells
from notifications.streaming import UnbufferedResponse
from notifications.views.security_headers import protect

HERE = "<!-- here -->"


class Chunks(View):
    """From a sync iterator. It may block: it has a thread to itself while it works."""

    source = staticmethod(bells.ring)

    def get(self, request: HttpRequest) -> UnbufferedResponse:
        if request.method == "HEAD":
            return protect(UnbufferedResponse())
        return protect(UnbufferedResponse(self._page(*_around(request, kind="sync"))))

    def _page(self, before: str, after: str) -> Iterator[str]:
        yield before
        with closing(self.source()) as rows:
            for row in rows:
                yield _item(row)
        yield after


class AsyncChunks(View):
    """From an async iterator. It awaits, and holds no thread."""

    source = staticmethod(bells.aring)

    async def get(self, request: HttpRequest) -> UnbufferedResponse:
        if request.method == "HEAD":
            return protect(UnbufferedResponse())
        return protect(UnbufferedResponse(self._page(*_around(request, kind="async"))))

    async def _page(self, before: str, after: str) -> AsyncIterator[str]:
        yield before
        # A generator inside another is closed at once only if somebody says so.
        async with aclosing(self.source()) as rows:
            async for row in rows:
                yield _item(row)
        yield after


def _around(request: HttpRequest, *, kind: str) -> tuple[str, str]:
    """What comes before the rows, and what comes after: an error in these is still a 500."""
    context = {"kind": kind, "here": HERE}
    page = render_to_string("demo/chunks.html", context, request)
    before, _, after = page.partition(HERE)
    return before, after


def _item(row: bells.Row) -> str:
    return format_html("<li>{}</li>\n", " ".join(map(str, row)))

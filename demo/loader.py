"""`/examples/loader/`: a page that is there at once, and whose parts come as they are ready."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass

from django.http import HttpRequest
from django.views import View

from demo import tower
from notifications.streaming import UnbufferedResponse, stream_template
from notifications.views.security_headers import protect

logger = logging.getLogger("carillon")


@dataclass(frozen=True)
class Part:
    """What is slow, and what to call it until it is there."""

    name: str
    title: str
    load: Callable[[], Awaitable[Iterable[str]]]


@dataclass(frozen=True)
class Loaded:
    part: Part
    lines: Iterable[str] | None
    """None if it could not be loaded: the rest of the page does not fail with it."""


class Loader(View):
    """`Loader.as_view(parts=…)` shows any parts."""

    parts = (
        Part("peal", "The peal", tower.peal),
        Part("hour", "The hour", tower.hour),
        Part("ringers", "The ringers", tower.ringers),
        Part("clock", "The clock", tower.clock),
    )

    async def get(self, request: HttpRequest) -> UnbufferedResponse:
        if request.method == "HEAD":
            return protect(UnbufferedResponse())
        context = {"parts": self.parts, "loaded": as_they_finish(self.parts)}
        stream = stream_template(request, "demo/loader.html", context)
        return protect(UnbufferedResponse(stream))


async def as_they_finish(parts: Iterable[Part]) -> AsyncGenerator[Loaded]:
    """All are loaded at once, and whoever leaves ends what is not there yet."""
    tasks = [asyncio.create_task(_load(part)) for part in parts]
    try:
        for finished in asyncio.as_completed(tasks):
            yield await finished
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _load(part: Part) -> Loaded:
    try:
        return Loaded(part, await part.load())
    except Exception:
        logger.exception("examples.part_failed name=%s", part.name)
        return Loaded(part, None)

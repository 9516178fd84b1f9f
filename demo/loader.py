"""`/examples/loader/`: a page that is shown at once; its parts arrive when they are ready."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass

from django.http import HttpRequest
from django.views import View

from demo import slow_data
from notifications.streaming import UnbufferedResponse, stream_template
from notifications.telemetry.logs import logger
from notifications.views.security_headers import protect


@dataclass(frozen=True)
class Part:
    """A slow part of the page, and the title that stands for it until it is loaded."""

    name: str
    title: str
    load: Callable[[], Awaitable[Iterable[str]]]


@dataclass(frozen=True)
class LoadedPart:
    part: Part
    lines: Iterable[str] | None
    """None if the part could not be loaded: the other parts do not fail with it."""


class Loader(View):
    """`Loader.as_view(parts=…)` shows any parts."""

    parts = (
        Part("peal", "The peal", slow_data.peal),
        Part("hour", "The hour", slow_data.hour),
        Part("ringers", "The ringers", slow_data.ringers),
        Part("clock", "The clock", slow_data.clock),
    )

    async def get(self, request: HttpRequest) -> UnbufferedResponse:
        if request.method == "HEAD":
            return protect(UnbufferedResponse())
        context = {"parts": self.parts, "loaded_parts": load_as_completed(self.parts)}
        stream = stream_template(request, "demo/loader.html", context)
        return protect(UnbufferedResponse(stream))


async def load_as_completed(parts: Iterable[Part]) -> AsyncGenerator[LoadedPart]:
    """Load all parts at once. Closing the generator cancels those that are not loaded yet."""
    tasks = [asyncio.create_task(_load(part)) for part in parts]
    try:
        for completed in asyncio.as_completed(tasks):
            yield await completed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _load(part: Part) -> LoadedPart:
    try:
        return LoadedPart(part, await part.load())
    except Exception:
        logger.exception("demo.part_failed", part=part.name)
        return LoadedPart(part, None)

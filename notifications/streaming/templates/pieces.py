"""The pieces of a template, on their way from the greenlet that renders to whoever sends them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Self

from django.http import HttpRequest
from django.template import TemplateDoesNotExist
from django.template.backends.django import Template, reraise
from greenlet import GreenletExit

from notifications.streaming.templates.compiling import compiled
from notifications.streaming.templates.lookups import SettledContext, SettledRequestContext
from notifications.streaming.templates.rendering import Rendering
from notifications.streaming.templates.stream import close_unawaited


class TemplateStream(AsyncIterator[str]):
    """The pieces of a template that is being rendered."""

    def __init__(
        self, template: Template, request: HttpRequest | None, context: dict[str, Any]
    ) -> None:
        self._context = context
        self._pieces = _pieces(partial(_render, template, request, context), context)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """Render no further, and close what has been begun."""
        await self._pieces.aclose()
        close_unawaited(self._context)


async def _pieces(render: Callable[[], str], context: dict[str, Any]) -> AsyncGenerator[str]:
    async with AsyncExitStack() as stack:
        stack.callback(close_unawaited, context)
        rendering = Rendering(render, stack)
        stack.callback(rendering.throw, GreenletExit)
        said = rendering.switch()
        while not rendering.dead:
            if isinstance(said, str):
                yield said
                await asyncio.sleep(0)  # a disconnect is heard, though the template never waits
                said = rendering.switch()
                continue
            try:
                result = await said
            except Exception as error:  # noqa: BLE001 - it is the template's
                said = rendering.throw(error)
            else:
                said = rendering.switch(result)
        if said:
            yield said


def _render(template: Template, request: HttpRequest | None, values: dict[str, Any]) -> str:
    autoescape = template.backend.engine.autoescape
    # As `make_context` does it: what is given comes before what context processors say.
    context: SettledContext | SettledRequestContext
    if request is None:
        context = SettledContext(values, autoescape=autoescape)
    else:
        context = SettledRequestContext(request, autoescape=autoescape)
        context.push(values)
    try:
        text: str = compiled(template.template).render(context)
    except TemplateDoesNotExist as error:
        reraise(error, template.backend)
    return text

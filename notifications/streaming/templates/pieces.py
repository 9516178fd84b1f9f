"""The pieces of a template, passed from the greenlet that renders them to the response."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Self

from django.http import HttpRequest
from django.template import TemplateDoesNotExist
from django.template.backends.django import Template, reraise
from greenlet import GreenletExit

from notifications.streaming.templates.compiling import streaming_version
from notifications.streaming.templates.lookups import AwaitedContext, AwaitedRequestContext
from notifications.streaming.templates.rendering import TemplateRendering
from notifications.streaming.templates.unawaited import close_unawaited


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
        """Stop rendering, and close the iterators and coroutines of the context."""
        await self._pieces.aclose()
        # A stream that nobody began to read has not run its own cleanup.
        close_unawaited(self._context)


async def _pieces(render: Callable[[], str], context: dict[str, Any]) -> AsyncGenerator[str]:
    async with AsyncExitStack() as stack:
        stack.callback(close_unawaited, context)
        rendering = TemplateRendering(render, stack)
        stack.callback(rendering.throw, GreenletExit)
        output = rendering.switch()
        while not rendering.dead:
            if isinstance(output, str):
                yield output
                # So a disconnect is noticed, also if the template never waits.
                await asyncio.sleep(0)
                output = rendering.switch()
                continue
            try:
                result = await output
            except Exception as error:  # noqa: BLE001 - the template may handle it
                output = rendering.throw(error)
            else:
                output = rendering.switch(result)
        if output:
            yield output


def _render(template: Template, request: HttpRequest | None, values: dict[str, Any]) -> str:
    autoescape = template.backend.engine.autoescape
    # As Django's `make_context` does: the view's values hide those of the context processors.
    context: AwaitedContext | AwaitedRequestContext
    if request is None:
        context = AwaitedContext(values, autoescape=autoescape)
    else:
        context = AwaitedRequestContext(request, autoescape=autoescape)
        context.push(values)
    try:
        text: str = streaming_version(template.template).render(context)
    except TemplateDoesNotExist as error:
        reraise(error, template.backend)
    return text

"""Variables and filters that await the values they come across."""

import inspect
import logging
from collections.abc import Callable
from typing import Any

from django.template.base import FilterExpression, Parser, VariableDoesNotExist
from django.template.context import BaseContext, Context, RequestContext

from notifications.streaming.django_internals import LookupVariable
from notifications.streaming.templates.rendering import (
    TemplateRendering,
    current_rendering,
    is_only_async_iterable,
)

logger = logging.getLogger("django.template")

_LOOKUP_ERRORS = (TypeError, AttributeError, KeyError, ValueError, IndexError)


class _AwaitedLookups(BaseContext):
    """A context for tags that read it directly.

    An awaitable is awaited, and an async iterable is read to its end, before the tag gets it.

    Raises `KeyError`, as every context does.
    """

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        rendering = current_rendering()
        return value if rendering is None else rendering.fully_awaited(value)

    def get(self, key: Any, otherwise: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return otherwise


class AwaitedContext(_AwaitedLookups, Context):
    pass


class AwaitedRequestContext(_AwaitedLookups, RequestContext):
    pass


class AwaitedExpression(FilterExpression):
    """A variable and its filters, each of them waited for."""

    __slots__ = ()

    def __init__(self, token: str, parser: Parser) -> None:
        super().__init__(token, parser)
        if self.is_var:
            self.var = AwaitedVariable(self.var.var)
        for _, arguments in self.filters:
            for index, (is_variable, argument) in enumerate(arguments):
                if is_variable:
                    arguments[index] = True, AwaitedVariable(argument.var)

    def keep_async_items(self) -> None:
        """Leave an async iterable as it is, because a loop reads it item by item."""
        if self.is_var and not self.filters:
            self.var.awaits_fully = False

    def resolve(self, context: Context, ignore_failures: bool = False) -> Any:
        rendering = current_rendering()
        if rendering is None:
            return super().resolve(context, ignore_failures)
        # Not streamed, because `{{ block.super }}` is a variable, too.
        value = rendering.without_streaming(super().resolve, context, ignore_failures)
        return rendering.fully_awaited(value) if self.filters else value


class AwaitedVariable(LookupVariable):
    """A `Variable` that waits for each step to its value, and for the value itself."""

    __slots__ = ("awaits_fully",)

    def __init__(self, var: str) -> None:
        super().__init__(var)
        self.awaits_fully = True

    def look_up(self, context: Any) -> Any:
        rendering = current_rendering()
        if rendering is None:
            return super().look_up(context)
        try:
            value = self._look_up_steps(context, rendering)
        except Exception as error:
            name = getattr(context, "template_name", None) or "unknown"
            logger.debug(
                "Exception while resolving variable '%s' in template '%s'.",
                *(self.var, name),
                exc_info=True,
            )
            if not getattr(error, "silent_variable_failure", False):
                raise
            return context.template.engine.string_if_invalid
        return rendering.fully_awaited(value) if self.awaits_fully else value

    def _look_up_steps(self, context: Any, rendering: TemplateRendering) -> Any:
        """Look up step by step as Django does, in its order, and with its failures."""
        current = context
        for bit in self.lookups or ():
            if bit.isdigit() and is_only_async_iterable(current):
                current = rendering.fully_awaited(current)
            current = rendering.awaited(_step(current, bit, rendering.call))
            if callable(current) and not getattr(current, "do_not_call_in_templates", False):
                if getattr(current, "alters_data", False):
                    current = context.template.engine.string_if_invalid
                else:
                    current = _call(current, context, rendering)
        return current


def _step(current: Any, bit: str, call: Callable[..., Any]) -> Any:
    try:
        if isinstance(current, _AwaitedLookups):
            # Not `fully_awaited`, because a loop may read item by item.
            return BaseContext.__getitem__(current, bit)
        if not hasattr(type(current), "__getitem__"):
            raise TypeError
        return call(lambda: current[bit])
    except _LOOKUP_ERRORS:
        if not isinstance(current, BaseContext):  # a context's attributes are no variables
            try:
                return call(getattr, current, bit)
            except (TypeError, AttributeError):
                if bit in dir(current):  # the attribute exists: a property raised the error
                    raise
        try:
            return call(lambda: current[int(bit)])
        except (IndexError, ValueError, KeyError, TypeError):
            failure = "Failed lookup for key [%s] in %r", (bit, current)
            raise VariableDoesNotExist(*failure) from None


def _call(function: Callable[[], Any], context: Any, rendering: TemplateRendering) -> Any:
    try:
        result = rendering.call(function)
    except TypeError:
        try:
            inspect.signature(function).bind()
        except (TypeError, ValueError):  # it needs arguments, or has no signature
            return context.template.engine.string_if_invalid
        raise
    return rendering.awaited_unshared(result)

"""Variables and filters that wait for what they come across."""

import inspect
import logging
from collections.abc import Callable
from typing import Any

from django.template.base import FilterExpression, Parser, Variable, VariableDoesNotExist
from django.template.context import BaseContext, Context, RequestContext

from notifications.streaming.templates.rendering import Rendering, current_rendering, is_unread

logger = logging.getLogger("django.template")

_FAILED = (TypeError, AttributeError, KeyError, ValueError, IndexError)


class _Settled(BaseContext):
    """For tags that look into the context by themselves: what they find there can be used as it is.

    Raises `KeyError`, as every context does.
    """

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        rendering = current_rendering()
        return value if rendering is None else rendering.settled(value)

    def get(self, key: Any, otherwise: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return otherwise


class SettledContext(_Settled, Context):
    pass


class SettledRequestContext(_Settled, RequestContext):
    pass


class Expression(FilterExpression):
    """A variable and its filters."""

    __slots__ = ()

    def __init__(self, token: str, parser: Parser) -> None:
        super().__init__(token, parser)
        if self.is_var:
            self.var = AwaitedVariable(self.var.var)
            self.var.is_last_settled = True
        for _, arguments in self.filters:
            for place, (is_variable, argument) in enumerate(arguments):
                if is_variable:
                    arguments[place] = True, AwaitedVariable(argument.var)

    def leave_unread(self) -> None:
        """Whoever has the value will read it item by item."""
        if self.is_var and not self.filters:
            self.var.is_last_settled = False

    def resolve(self, context: Context, ignore_failures: bool = False) -> Any:
        rendering = current_rendering()
        if rendering is None:
            return super().resolve(context, ignore_failures)
        # `{{ block.super }}` is a variable, too.
        value = rendering.whole(super().resolve, context, ignore_failures)
        return rendering.settled(value) if self.filters else value


class AwaitedVariable(Variable):
    """`Variable`, but that each step to the value, and the value itself, is waited for."""

    __slots__ = ("is_last_settled",)

    def __init__(self, var: str) -> None:
        super().__init__(var)
        self.is_last_settled = True

    def _resolve_lookup(self, context: Any) -> Any:
        rendering = current_rendering()
        if rendering is None:
            return super()._resolve_lookup(context)  # type: ignore[misc]
        try:
            value = self._look_up(context, rendering)
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
        return rendering.settled(value) if self.is_last_settled else value

    def _look_up(self, context: Any, rendering: Rendering) -> Any:
        """Step by step as Django's does, in its order, and with its failures."""
        current = context
        for bit in self.lookups or ():
            if bit.isdigit() and is_unread(current):
                current = rendering.settled(current)
            current = rendering.awaited(_step(current, bit, rendering.unblocked))
            if callable(current) and not getattr(current, "do_not_call_in_templates", False):
                if getattr(current, "alters_data", False):
                    current = context.template.engine.string_if_invalid
                else:
                    current = _call(current, context, rendering)
        return current


type _Unblocked = Callable[..., Any]


def _step(current: Any, bit: str, unblocked: _Unblocked) -> Any:
    try:
        if isinstance(current, _Settled):  # the items of what it holds may be wanted one by one
            return BaseContext.__getitem__(current, bit)
        if not hasattr(type(current), "__getitem__"):
            raise TypeError
        return unblocked(lambda: current[bit])
    except _FAILED:
        if not isinstance(current, BaseContext):  # its attributes are no variables
            try:
                return unblocked(getattr, current, bit)
            except (TypeError, AttributeError):
                if bit in dir(current):  # a property raised it
                    raise
        try:
            return unblocked(lambda: current[int(bit)])
        except (IndexError, ValueError, KeyError, TypeError):
            failure = "Failed lookup for key [%s] in %r", (bit, current)
            raise VariableDoesNotExist(*failure) from None


def _call(function: Callable[[], Any], context: Any, rendering: Rendering) -> Any:
    try:
        result = rendering.unblocked(function)
    except TypeError:
        try:
            inspect.signature(function).bind()
        except (TypeError, ValueError):  # it needs arguments, or does not say
            return context.template.engine.string_if_invalid
        raise
    return rendering.fresh(result)

"""Coroutines of a template's context that the template never awaited."""

from inspect import iscoroutine
from typing import Any


def close_unawaited(context: dict[str, Any]) -> None:
    """Close them, because Python warns of a coroutine that is neither awaited nor closed."""
    for value in context.values():
        if iscoroutine(value):
            value.close()

"""Values and tags for the template corpus: the same context for `render` and `stream_template`."""

import asyncio
from collections.abc import AsyncIterator, Generator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, NamedTuple

from django import template
from django.utils.safestring import mark_safe

MARKUP = "<b>&'\"</b>"


class Later(NamedTuple):
    """A value that `stream_template` has to await."""

    value: Any


class Streamed(NamedTuple):
    """Items that `stream_template` gets one by one."""

    items: list[Any]


class Failure(Exception):
    pass


class Missing(Exception):
    silent_variable_failure = True


class Awaited:
    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, Any]:
        yield from asyncio.sleep(0).__await__()
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


async def _coroutine(value: Any) -> Any:
    return await value


async def _items(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield streamed(item)


def values_for_stream(values: dict[str, Any]) -> dict[str, Any]:
    """The context for `stream_template`, with coroutines: each runs once, or has to be closed."""
    context = {key: streamed(value) for key, value in values.items()}
    return {
        key: _coroutine(value) if isinstance(value, Awaited) else value
        for key, value in context.items()
    }


def streamed(value: Any) -> Any:
    """The value for `stream_template`, with awaitables and async generators."""
    match value:
        case Later(inner):
            return Awaited(streamed(inner))
        case Streamed(items):
            return _items(items)
        case dict():
            return {key: streamed(inner) for key, inner in value.items()}
        case list():
            return [streamed(inner) for inner in value]
        case SimpleNamespace():
            return SimpleNamespace(**streamed(vars(value)))
    return value


def resolved(value: Any) -> Any:
    """The value for `render`, with the results and the items themselves."""
    match value:
        case Later(inner):
            return resolved(inner)
        case Streamed(items):
            return [resolved(item) for item in items]
        case dict():
            return {key: resolved(inner) for key, inner in value.items()}
        case list():
            return [resolved(inner) for inner in value]
        case SimpleNamespace():
            return SimpleNamespace(**resolved(vars(value)))
    return value


def context() -> dict[str, Any]:
    rows = [{"name": "ada", "year": 1815}, {"name": "eve", "year": 1815}, {"name": MARKUP}]
    return {
        "text": "text",
        "markup": MARKUP,
        "safe": mark_safe(MARKUP),
        "slow": Later("slow"),
        "slow_markup": Later(MARKUP),
        "slow_safe": Later(mark_safe(MARKUP)),
        "slow_none": Later(None),
        "slow_list": Later([1, 2, 3]),
        "slow_template": Later("inner.html"),
        "slow_time": Later(datetime(2026, 11, 22, 21, tzinfo=UTC)),
        "slow_number": Later(1234567.5),
        "twice": Later(Later("twice")),
        "items": Streamed(["a", MARKUP, Later("c")]),
        "none": Streamed([]),
        "one": Streamed(["only"]),
        "pairs": Streamed([("a", 1), ("b", 2)]),
        "uneven": Streamed([("a", 1), ("b",)]),
        "rows": Streamed(rows),
        "later_rows": Later(Streamed([Later(row) for row in rows])),
        "nested": Streamed([Streamed(["a", "b"]), Streamed([]), Streamed(["c"])]),
        "listed": [Later("x"), Later("y")],
        "paired": [Later(("a", 1)), ("b", Later(2))],
        "thing": SimpleNamespace(
            name=Later(MARKUP),
            parts=Streamed([1, 2]),
            deep=Later({"er": SimpleNamespace(x=Later(7))}),
        ),
        "zero": Later(0),
        "false": False,
    }


register = template.Library()


@register.simple_tag(takes_context=True)
def peek(context: template.Context, name: str) -> Any:
    return f"{name}={context.get(name)}"


@register.simple_tag
def shout(*words: Any, **named: Any) -> str:
    return f"{words}{sorted(named.items())}"


@register.inclusion_tag("boxed.html", takes_context=True)
def boxed(context: template.Context, content: Any) -> dict[str, Any]:
    return {"content": content, "text": context["text"]}


@register.filter
def brackets(value: Any, by: Any = "[]") -> str:
    return f"{by}{value}{by}"


@register.filter
def fails(value: Any) -> str:
    raise Failure(f"not {value}")


@register.tag
def twice(parser: Any, token: Any) -> template.Node:
    nodes = parser.parse(("endtwice",))
    parser.delete_first_token()
    return Twice(nodes)


class Twice(template.Node):
    def __init__(self, nodelist: Any) -> None:
        self.nodelist = nodelist

    def render(self, context: template.Context) -> Any:
        return self.nodelist.render(context).upper() + self.nodelist.render(context)


class Through(Twice):
    streams = True

    def render(self, context: template.Context) -> Any:
        with context.push(through=True):
            return self.nodelist.render(context)


@register.tag
def through(parser: Any, token: Any) -> template.Node:
    nodes = parser.parse(("endthrough",))
    parser.delete_first_token()
    return Through(nodes)


FAILING_VALUES = {"broken": Later(Failure("broken")), "vanished": Later(Missing("vanished"))}

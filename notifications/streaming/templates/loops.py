"""`{% for %}` over items that are still to come."""

from typing import Any

import django
from django.template.base import Node, NodeList
from django.template.context import Context
from django.template.defaulttags import ForNode

from notifications.streaming.templates.rendering import (
    AwaitedItems,
    TemplateRendering,
    current_rendering,
    is_only_async_iterable,
)

HAS_LENGTH = django.VERSION >= (6, 0)


class StreamedFor(Node):
    """Renders each item of an async iterable when it comes. Django's node loops over the others."""

    child_nodelists = ForNode.child_nodelists

    def __init__(self, node: ForNode) -> None:
        self._loopvars = node.loopvars
        self._sequence: Any = node.sequence
        self._is_reversed = node.is_reversed
        self.nodelist_loop: Any = node.nodelist_loop
        self.nodelist_empty: Any = node.nodelist_empty

    def render(self, context: Context) -> str:
        rendering = current_rendering()
        if rendering is None:
            return self._render_as_django(self._sequence, context)
        values = self._sequence.resolve(context, ignore_failures=True)
        if is_only_async_iterable(values) and not self._is_reversed:
            return self._render_items(context, rendering, rendering.items(values))
        values = rendering.fully_awaited(values)
        if len(self._loopvars) > 1 and values is not None:
            values = [rendering.fully_awaited(value) for value in values]
        return self._render_as_django(_ResolvedSequence(values), context)

    def _render_as_django(self, sequence: Any, context: Context) -> str:
        nodelists: tuple[NodeList, NodeList] = self.nodelist_loop, self.nodelist_empty
        return ForNode(self._loopvars, sequence, self._is_reversed, *nodelists).render(context)

    def _render_items(
        self, context: Context, rendering: TemplateRendering, items: AwaitedItems
    ) -> str:
        parentloop = context.get("forloop", {})
        unpacks = len(self._loopvars) > 1
        rendered: list[str] = []
        with context.push():
            if not items.has(0):
                empty: str = self.nodelist_empty.render(context)
                return empty
            forloop = context["forloop"] = StreamedForLoop(items, parentloop)
            for item in items:
                if unpacks:
                    context.update(self._unpacked(rendering.fully_awaited(item)))
                else:
                    context[self._loopvars[0]] = item
                rendered += [node.render_annotated(context) for node in self.nodelist_loop]
                if unpacks:
                    context.pop()
                forloop.position += 1
        return "".join(rendered)

    def _unpacked(self, item: Any) -> dict[str, Any]:
        wanted = len(self._loopvars)
        try:
            length = len(item)
        except TypeError:
            length = 1
        if length != wanted:
            raise ValueError(f"Need {wanted} values to unpack in for loop; got {length}. ")
        return dict(zip(self._loopvars, item, strict=True))


class _ResolvedSequence:
    """Takes the part of a `FilterExpression`, for a sequence that is resolved already."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def resolve(self, context: Context, ignore_failures: bool = False) -> Any:
        return self._values


class StreamedForLoop(dict[str, Any]):
    """`forloop`: a value that depends on later items waits for them when the template asks."""

    def __init__(self, items: AwaitedItems, parentloop: Any) -> None:
        super().__init__(parentloop=parentloop)
        self._items = items
        self.position = 0

    def __missing__(self, key: str) -> Any:
        match key:
            case "counter":
                return self.position + 1
            case "counter0":
                return self.position
            case "first":
                return self.position == 0
            case "last":
                return not self._items.has(self.position + 1)
            case "revcounter":
                return self._items.count() - self.position
            case "revcounter0":
                return self._items.count() - self.position - 1
            case "length" if HAS_LENGTH:
                return self._items.count()
        raise KeyError(key)

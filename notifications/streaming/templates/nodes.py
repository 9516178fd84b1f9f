"""The nodes of a template that streams: Django's own, which hand over what they have rendered."""

from functools import partial
from typing import Any, cast

import django
from django.template import defaulttags, loader_tags
from django.template.base import Node, Parser, TextNode, Token
from django.template.context import Context
from django.template.defaulttags import ForNode
from django.templatetags import i18n, l10n, tz

from notifications.streaming.templates.lookups import Expression
from notifications.streaming.templates.loops import StreamedFor
from notifications.streaming.templates.rendering import current_rendering

PASSING = {
    defaulttags.AutoEscapeControlNode,
    defaulttags.IfNode,
    defaulttags.WithNode,
    i18n.LanguageNode,
    l10n.LocalizeNode,
    loader_tags.BlockNode,
    loader_tags.ExtendsNode,
    loader_tags.IncludeNode,
    tz.LocalTimeNode,
    tz.TimezoneNode,
    StreamedFor,
}
"""Those whose output is that of the nodes inside them, one after another, and nothing else. Of all
others it is taken whole, since what they do with it is their own."""
if django.VERSION >= (6, 0):
    PASSING |= {defaulttags.PartialDefNode, defaulttags.PartialNode}


class StreamingParser(Parser):
    def compile_filter(self, token: str) -> Expression:
        return Expression(token, self)

    def extend_nodelist(self, nodelist: Any, node: Node, token: Token) -> None:
        node = _reading_by_item(node)
        super().extend_nodelist(nodelist, node, token)
        render = _as_it_comes if isinstance(node, TextNode) or passes(node) else _whole
        node.render_annotated = partial(render, node)  # type: ignore[method-assign]


def passes(node: Node) -> bool:
    """Whether it lets what is inside it stream. A tag of one's own says so by `streams = True`."""
    return type(node) in PASSING or getattr(type(node), "streams", False) is True


def _reading_by_item(node: Node) -> Node:
    expressions: list[Any] = []
    if type(node) is ForNode:
        expressions = [node.sequence]
        node = StreamedFor(node)
    elif isinstance(node, defaulttags.WithNode | loader_tags.IncludeNode):
        expressions = list(node.extra_context.values())
    for each in expressions:
        if isinstance(each, Expression):
            each.leave_unread()
    return node


def _render(node: Node, context: Context) -> str:
    return cast(str, type(node).render_annotated(node, context))


def _as_it_comes(node: Node, context: Context) -> str:
    """What is inside it has handed itself over, unless it came from no template of ours."""
    rendering = current_rendering()
    text = _render(node, context)
    if rendering is None or not rendering.is_open:
        return text
    rendering.write(text)
    return ""


def _whole(node: Node, context: Context) -> str:
    rendering = current_rendering()
    if rendering is None or not rendering.is_open:
        return _render(node, context)
    rendering.write(rendering.whole(_render, node, context))
    return ""

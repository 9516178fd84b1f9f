"""Streaming versions of templates: compiled again, from the source that Django has loaded."""

from functools import lru_cache, partial
from typing import Any
from weakref import WeakKeyDictionary

import django
from django.template import defaulttags, loader_tags
from django.template.base import (
    DebugLexer,
    Lexer,
    Node,
    NodeList,
    Parser,
    Template,
    TextNode,
    Token,
)
from django.template.context import Context
from django.template.defaulttags import ForNode
from django.template.engine import Engine
from django.templatetags import i18n, l10n, tz

from notifications.streaming.django_internals import (
    partial_name,
    render_annotated,
    replace_rendering,
    share_state,
)
from notifications.streaming.templates.lookups import AwaitedExpression
from notifications.streaming.templates.loops import StreamedFor
from notifications.streaming.templates.rendering import current_rendering

STREAMING_NODES = {
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
"""Nodes whose text is that of the nodes inside them, one after another, and nothing else.

Any other node is rendered as a whole, because it may change the text of the nodes inside it.
"""
if django.VERSION >= (6, 0):
    STREAMING_NODES |= {defaulttags.PartialDefNode, defaulttags.PartialNode}


def streaming_version(template: Template) -> Any:
    """The same template, compiled so that it streams."""
    engine = _streaming_engine(template.engine)
    share_state(engine, template.engine)
    name = partial_name(template)
    return engine.streaming_template(template) if name is None else engine.get_template(name)


@lru_cache(maxsize=16)
def _streaming_engine(engine: Engine) -> "StreamingEngine":
    return StreamingEngine(engine)


class StreamingEngine(Engine):
    """A copy of the project's template engine whose templates can be streamed."""

    def __init__(self, original: Engine) -> None:
        self._compiled: WeakKeyDictionary[Template, StreamingTemplate] = WeakKeyDictionary()
        share_state(self, original)

    def find_template(self, name: str, dirs: Any = None, skip: Any = None) -> Any:
        template, origin = super().find_template(name, dirs, skip)
        return self.streaming_template(template), origin

    def streaming_template(self, template: Template) -> "StreamingTemplate":
        if template not in self._compiled:
            self._compiled[template] = StreamingTemplate(
                template.source, template.origin, template.name, self
            )
        return self._compiled[template]


class StreamingTemplate(Template):
    """A template compiled by `StreamingParser`, as `Template` does it by `Parser`."""

    def compile_nodelist(self) -> NodeList:
        lexer = (DebugLexer if self.engine.debug else Lexer)(self.source)
        parser = StreamingParser(
            lexer.tokenize(),
            self.engine.template_libraries,
            self.engine.template_builtins,
            self.origin,
        )
        nodelist = parser.parse()
        self.extra_data = getattr(parser, "extra_data", {})  # since Django 6.0
        return nodelist


class StreamingParser(Parser):
    """Compiles to Django's own nodes, which write their text to the rendering, if it streams."""

    def compile_filter(self, token: str) -> AwaitedExpression:
        return AwaitedExpression(token, self)

    def extend_nodelist(self, nodelist: Any, node: Node, token: Token) -> None:
        node = _looping_over_async_items(node)
        super().extend_nodelist(nodelist, node, token)
        streams = isinstance(node, TextNode) or can_stream(node)
        replace_rendering(node, partial(_render_in_pieces if streams else _render_whole, node))


def can_stream(node: Node) -> bool:
    """Whether the nodes inside it may stream. A custom tag allows it by `streams = True`."""
    return type(node) in STREAMING_NODES or getattr(type(node), "streams", False) is True


def _looping_over_async_items(node: Node) -> Node:
    """The node, which leaves an async iterable to the loop that reads it item by item."""
    expressions: list[Any] = []
    if type(node) is ForNode:
        expressions = [node.sequence]
        node = StreamedFor(node)
    elif isinstance(node, defaulttags.WithNode | loader_tags.IncludeNode):
        expressions = list(node.extra_context.values())
    for expression in expressions:
        if isinstance(expression, AwaitedExpression):
            expression.keep_async_items()
    return node


def _render_in_pieces(node: Node, context: Context) -> str:
    """Write the node's own text. The nodes inside it have written theirs already.

    Nodes that were not compiled here, such as those of an included template object, return their
    text instead.
    """
    rendering = current_rendering()
    text = render_annotated(node, context)
    if rendering is None or not rendering.is_streaming:
        return text
    rendering.write(text)
    return ""


def _render_whole(node: Node, context: Context) -> str:
    rendering = current_rendering()
    if rendering is None or not rendering.is_streaming:
        return render_annotated(node, context)
    rendering.write(rendering.without_streaming(render_annotated, node, context))
    return ""

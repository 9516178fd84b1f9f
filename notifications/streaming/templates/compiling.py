"""Templates compiled once more, from the source that Django has found and compiled already."""

from functools import lru_cache, partial
from typing import Any, cast
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

from notifications.streaming.templates.lookups import Expression
from notifications.streaming.templates.loops import StreamedFor
from notifications.streaming.templates.rendering import current_rendering


class StreamingTemplate(Template):
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


class StreamingEngine(Engine):
    """An engine whose templates stream, and which else is the one it was made of."""

    def __init__(self, engine: Engine) -> None:
        self._compiled: WeakKeyDictionary[Template, StreamingTemplate] = WeakKeyDictionary()
        self.follow(engine)

    def follow(self, engine: Engine) -> None:
        # Loaders, and what they have cached, are shared, once they are there.
        assert engine.template_loaders is not None
        vars(self).update(vars(engine))

    def find_template(self, name: str, dirs: Any = None, skip: Any = None) -> Any:
        template, origin = super().find_template(name, dirs, skip)
        return self.streaming(template), origin

    def streaming(self, template: Template) -> StreamingTemplate:
        if template not in self._compiled:
            self._compiled[template] = StreamingTemplate(
                template.source, template.origin, template.name, self
            )
        return self._compiled[template]


@lru_cache(maxsize=16)
def _streaming_engine(engine: Engine) -> StreamingEngine:
    return StreamingEngine(engine)


def compiled(template: Template) -> Any:
    """The same template, but one that streams."""
    engine = _streaming_engine(template.engine)
    engine.follow(template.engine)
    if type(template).__name__ == "PartialTemplate":  # since Django 6.0
        return engine.get_template(f"{template.origin.template_name!s}#{template.name}")
    return engine.streaming(template)


# The nodes of a template that streams: Django's own, which hand over what they have rendered.


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

"""Templates compiled once more, from the source that Django has found and compiled already."""

from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from django.template.base import DebugLexer, Lexer, NodeList, Template
from django.template.engine import Engine

from notifications.streaming.templates.nodes import StreamingParser


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

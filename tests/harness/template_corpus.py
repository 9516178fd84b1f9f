# ruff: noqa: E501 - a template is a line
"""Templates, what they include and extend, and a context, for rendering them in two ways."""

import asyncio
from collections.abc import AsyncIterator, Generator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, NamedTuple

import django
from django import template
from django.utils.safestring import mark_safe

MARKUP = "<b>&'\"</b>"


class Later(NamedTuple):
    """A value that has to be awaited."""

    value: Any


class Each(NamedTuple):
    """Items that come one by one."""

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


async def _value(value: Any) -> Any:
    return await value


async def _items(items: list[Any]) -> AsyncIterator[Any]:
    for each in items:
        yield streamed(each)


def values_for_stream(values: dict[str, Any]) -> dict[str, Any]:
    """With coroutines, which can be awaited once, and have to be or to be closed."""
    given = {key: streamed(each) for key, each in values.items()}
    return {key: _value(each) if isinstance(each, Awaited) else each for key, each in given.items()}


def streamed(value: Any) -> Any:
    """For `stream_template`: coroutines and async generators."""
    match value:
        case Later(inner):
            return Awaited(streamed(inner))
        case Each(items):
            return _items(items)
        case dict():
            return {key: streamed(each) for key, each in value.items()}
        case list():
            return [streamed(each) for each in value]
        case SimpleNamespace():
            return SimpleNamespace(**streamed(vars(value)))
    return value


def resolved(value: Any) -> Any:
    """For `render`: what these stand for."""
    match value:
        case Later(inner):
            return resolved(inner)
        case Each(items):
            return [resolved(each) for each in items]
        case dict():
            return {key: resolved(each) for key, each in value.items()}
        case list():
            return [resolved(each) for each in value]
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
        "items": Each(["a", MARKUP, Later("c")]),
        "none": Each([]),
        "one": Each(["only"]),
        "pairs": Each([("a", 1), ("b", 2)]),
        "uneven": Each([("a", 1), ("b",)]),
        "rows": Each(rows),
        "later_rows": Later(Each([Later(each) for each in rows])),
        "nested": Each([Each(["a", "b"]), Each([]), Each(["c"])]),
        "listed": [Later("x"), Later("y")],
        "paired": [Later(("a", 1)), ("b", Later(2))],
        "thing": SimpleNamespace(
            name=Later(MARKUP), parts=Each([1, 2]), deep=Later({"er": SimpleNamespace(x=Later(7))})
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


OTHERS = {
    "inner.html": "<i>{{ text }} {{ slow }} {{ x }}{% for i in items %}{{ i }}{% endfor %}</i>",
    "boxed.html": "({{ content }} {{ text }} {{ slow }})",
    "deep.html": "{% include 'inner.html' with x=slow_markup %}{% include 'boxed.html' only %}",
    "broken.html": "{{ text }}\n{{ slow|fails }}",
    "base.html": "<{% block title %}base {{ slow }}{% endblock %}|{% block body %}"
    "{% for i in items %}{{ i }}{% endfor %}{% endblock %}>{{ twice }}",
    "middle.html": "{% extends 'base.html' %}{% block title %}middle {{ block.super }}{% endblock %}"
    "{% block body %}<{% block inside %}in{% endblock %}>{{ block.super }}{% endblock %}",
    "recursive.html": "{{ rows|length }}{% if depth %}{% include 'recursive.html' with depth=0 %}"
    "{% endif %}",
}

TEMPLATES = [
    # Values and filters
    "text {{ text }}",
    "{{ markup }} {{ safe }} {{ slow_markup }} {{ slow_safe }} {{ slow_markup|safe }}",
    "{{ slow }}{{ slow }}{{ slow|upper }}{{ slow|add:slow }}{{ text|add:slow|title }}",
    "{{ slow_none }} {{ slow_none|default:'-' }} {{ slow_none|default_if_none:slow }}",
    "{{ missing }} {{ missing|default:slow }} {{ missing.x }} {{ slow.missing }}",
    "{{ text|brackets:slow }} {{ slow|brackets }} {{ slow_markup|brackets }} {{ twice }}",
    "{{ slow_list }} {{ slow_list.1 }} {{ slow_list|length }} {{ slow_list|join:slow_markup }}",
    "{{ items }} {{ items|length }} {{ items|join:', ' }} {{ items|first }} {{ items.1 }}",
    "{{ items|slice:':2' }} {{ items.9 }} {{ items.x }} {{ rows.0.name }} {{ rows|last }}",
    "{{ rows|dictsort:'name' }} {{ slow_list|json_script:'x' }} {{ items|json_script:'x' }}",
    "{{ items|unordered_list }} {{ items|yesno }} {{ none|yesno }} {{ none|default:'-' }}",
    "{{ thing.name }} {{ thing.deep.er.x }} {{ thing.parts }} {{ thing.parts.0 }} {{ thing.no }}",
    "{{ slow_time|date:'Y-m-d' }} {{ slow_time }} {{ slow_number|floatformat:2 }} {{ slow_number }}",
    "{{ listed.0 }} {{ listed.1|upper }} {{ 'x'|add:slow }} {{ _('x') }} {{ 12.5 }}",
    "{{ slow_markup|escape }} {{ slow_markup|force_escape }} {{ slow_markup|linebreaks }}",
    "{{ slow_markup|striptags|truncatechars:3 }} {{ slow_safe|lower }} {{ slow_safe|add:markup }}",
    "{# comment #}{% comment %}{{ slow|fails }}{% endcomment %}{% verbatim %}{{ x }}{% endverbatim %}",
    # Autoescaping
    "{% autoescape off %}{{ slow_markup }}{{ markup }}{% endautoescape %}{{ slow_markup }}",
    "{% autoescape off %}{% autoescape on %}{{ slow_markup }}{% endautoescape %}{% endautoescape %}",
    # Loops
    "{% for i in items %}{{ i }}{% endfor %}{% for i in items %}{{ i }}{% endfor %}",
    "{% for i in items %}{{ forloop.counter }}{{ forloop.counter0 }}{{ forloop.first }}{% endfor %}",
    "{% for i in items %}{{ forloop.last }}{% endfor %}",
    "{% for i in items %}{{ forloop.revcounter }}{{ forloop.revcounter0 }}{% endfor %}",
    "{% for i in items %}{{ forloop.length }}{{ forloop.nothing }}{% endfor %}",
    "{% for i in items %}{{ forloop.parentloop }}{{ forloop.parentloop.x }}{% endfor %}",
    "{% for i in none %}{{ i }}{% empty %}none {{ slow }}{{ forloop }}{% endfor %}",
    "{% for i in items reversed %}{{ i }}{{ forloop.last }}{% endfor %}",
    "{% for i in none reversed %}{{ i }}{% empty %}-{% endfor %}",
    "{% for i in slow_list %}{{ i }}{{ forloop.revcounter }}{% empty %}-{% endfor %}",
    "{% for i in listed %}{{ i }}{% endfor %}{% for i in missing %}{% empty %}-{% endfor %}",
    "{% for i in slow_none %}x{% empty %}-{% endfor %}{% for c in slow %}{{ c }},{% endfor %}",
    "{% for name, n in pairs %}{{ name }}{{ n }}{{ forloop.counter }}{% endfor %}{{ name }}",
    "{% for name, n in paired %}{{ name }}{{ n }}{% endfor %}",
    "{% for a, b in uneven %}{{ a }}{% endfor %}",
    "{% for a, b in items %}{{ a }}{% endfor %}",
    "{% for a, b in slow_list %}{{ a }}{% endfor %}",
    "{% for self, n in pairs %}{{ self }}{% endfor %}",
    "{% for r in rows %}{{ r.name }} {{ r.year }} {% endfor %}",
    "{% for r in later_rows %}{{ r.name }}{{ forloop.last }}{% endfor %}{{ later_rows|length }}",
    "{% for inner in nested %}{% for x in inner %}{{ forloop.parentloop.counter }}{{ x }}"
    "{{ forloop.parentloop.last }}{{ forloop.last }}{% empty %}-{% endfor %};{% endfor %}",
    "{% for a in items %}{% for b in items %}{{ a }}{{ b }} {% endfor %}{% endfor %}",
    "{% for p in thing.parts %}{{ p }}{% endfor %}{% for p in thing.parts %}{{ p }}{% endfor %}",
    "{% for i in items|slice:'1:' %}{{ i }}{% endfor %}{% for k, v in deep.items %}{{ k }}{% endfor %}",
    "{% for i in items %}{% cycle 'a' slow 'c' %}{% endfor %}",
    "{% for i in items %}{% cycle 'a' slow as c silent %}{{ c }}{% resetcycle c %}{% endfor %}{{ c }}",
    "{% for i in items %}{{ x }}{% firstof i as x %}{{ x }}{% endfor %}{{ x }}",
    "{% for i in items %}{% with x=i %}{{ x }}{% endwith %}{{ x }}{% endfor %}{{ i }}",
    "{% for r in rows %}{% ifchanged r.year %}{{ r.year }}{% else %}same{% endifchanged %}{% endfor %}",
    "{% for r in rows %}{% ifchanged %}{{ r.year }}{{ slow }}{% endifchanged %}{% endfor %}",
    "{% regroup rows by year as years %}{% for y in years %}{{ y.grouper }}:"
    "{% for r in y.list %}{{ r.name }}{% endfor %}{% endfor %}",
    # Conditions
    "{% if slow %}yes{% else %}no{% endif %}{% if zero %}yes{% elif slow_none %}maybe{% else %}no{% endif %}",
    "{% if slow == 'slow' and items %}yes{% endif %}{% if none or zero %}no{% endif %}",
    "{% if 'a' in items %}in{% endif %}{% if slow_list|length > 2 %}long{% endif %}{% if missing %}x{% endif %}",
    "{% if false %}{{ slow|fails }}{% endif %}{% if not none %}none{% endif %}{% if slow < 1 %}x{% endif %}",
    "{% if items.0 == 'a' %}{{ items.0 }}{% endif %}{% if thing.deep.er.x is not None %}7{% endif %}",
    # With
    "{% with x=slow y=items z=slow|upper %}{{ x }}{{ z }}{% for i in y %}{{ i }}{% endfor %}{% endwith %}",
    "{% with items as y %}{{ y|length }}{% for i in y %}{{ i }}{% endfor %}{{ y.0 }}{% endwith %}{{ y }}",
    "{% with x=thing.deep %}{{ x.er.x }}{% endwith %}{% with x=missing %}[{{ x }}]{% endwith %}",
    # Taken whole
    "{% filter upper %}a {{ slow }} {% for i in items %}{{ i }}{% endfor %}{% endfilter %}",
    "{% filter force_escape|brackets:slow %}{{ slow_markup }}{% include 'inner.html' %}{% endfilter %}",
    "{% spaceless %}<p> {% for i in items %} <b> {{ i }} </b> {% endfor %}{{ slow }} </p>{% endspaceless %}",
    "{% load cache %}{% cache 0 one slow %}{{ slow }}{% for i in items %}{{ i }}{% endfor %}{% endcache %}",
    "{% firstof slow_none zero slow_markup %}{% firstof zero '<'|safe %}{% firstof slow as x %}{{ x }}",
    "{% widthratio zero 10 100 %}{% templatetag openblock %}{% now 'Y' %}{% lorem 2 w %}",
    # Includes
    "{% include 'inner.html' %}{% include 'inner.html' with x=slow only %}{% include slow_template %}",
    "{% for i in items %}{% include 'inner.html' with x=i %}{% endfor %}{% include 'deep.html' %}",
    "{% include missing_names %}",
    "a {{ slow }} {% include 'nowhere.html' %}",
    "a {% include 'broken.html' %}",
    "{% include 'recursive.html' with depth=1 %}{% include listed_names %}",
    # Inheritance
    "{% extends 'base.html' %}",
    "{% extends 'base.html' %}{% block title %}{{ slow_markup }}{{ block.super }}{% endblock %}",
    "{% extends 'middle.html' %}{% block inside %}{{ block.super }}{{ items|length }}{% endblock %}",
    "{% extends 'middle.html' %}{% block body %}{% if block.super %}{{ block.super }}{% endif %}{% endblock %}",
    "{% extends 'middle.html' %}{% block title %}{% with s=block.super %}{{ s|upper }}{% endwith %}{% endblock %}",
    "{% extends 'middle.html' %}{% block title %}{% filter upper %}{{ block.super }}{% endfilter %}{% endblock %}",
    "{% extends slow_none %}",
    "{% extends 'nowhere.html' %}",
    "{% extends base_name|default:'base.html' %}{% block title %}{{ slow|fails }}{% endblock %}",
    "before {% extends 'base.html' %}{% block body %}{% include 'deep.html' %}{% endblock %}",
    "{% block a %}{{ slow }}{% block b %}{{ block.super }}{{ slow }}{% endblock %}{% endblock %}",
    # Tags of one's own
    "{% load corpus %}{% peek 'slow' %}{% peek 'items' %}{% peek 'missing' %}{% peek name=slow %}",
    "{% load corpus %}{% shout slow items thing.name x=slow y=text %}{% shout slow as x %}{{ x }}",
    "{% load corpus %}{% boxed slow_markup %}{% boxed items %}{% boxed missing %}",
    "{% load corpus %}{% for i in items %}{% boxed i %}{% endfor %}",
    "{% load corpus %}{% twice %}{{ slow }}{% for i in items %}{{ i }}{% endfor %}{% endtwice %}",
    "{% load corpus %}{% through %}{{ through }}{{ slow }}{% include 'inner.html' %}{% endthrough %}",
    "{% load corpus %}{% filter lower %}{% through %}{% boxed slow %}{% endthrough %}{% endfilter %}",
    # Languages and formats
    "{% load i18n %}{% translate 'Yes' %}{% translate slow %}{% translate 'No' as n %}{{ n }}",
    "{% load i18n %}{% language 'de' %}{% translate 'Yes' %}{{ slow }}{{ slow_time }}{% endlanguage %}"
    "{% translate 'Yes' %}{% get_current_language as l %}{{ l }}",
    "{% load i18n %}{% blocktranslate %}Hello {{ slow }} {{ slow_markup }} {{ missing }}{% endblocktranslate %}",
    "{% load i18n %}{% blocktranslate with x=slow|upper y=items|length trimmed %}\n {{ x }}\n {{ y }}"
    "{% endblocktranslate %}",
    "{% load i18n %}{% blocktranslate count n=items|length %}one{% plural %}{{ n }} of {{ slow }}"
    "{% endblocktranslate %}",
    "{% load l10n tz %}{% localize on %}{{ slow_number }}{% endlocalize %}{% localize off %}"
    "{{ slow_number }}{% endlocalize %}{% timezone 'Asia/Tokyo' %}{{ slow_time }}{% endtimezone %}"
    "{% localtime off %}{{ slow_time }}{% endlocaltime %}",
    # Faults
    "{{ slow }}\n  {{ slow|fails }} after",
    "{% for i in items %}\n{% if i == 'a' %}{% else %}{{ i|fails }}{% endif %}{% endfor %}",
    "{{ broken }} {{ text }}",
    "{% if broken == 1 %}{% endif %}{% with x=broken %}{{ x }}{% endwith %}",
    "{{ vanished }} {{ vanished.x }} {{ text }}",
    "{% load corpus %}{% shout broken %}",
    "{% url 'nowhere' slow %}",
    "{% url slow_list %}",
    # No templates at all
    "{% nonsense %}",
    "{% if slow %}",
    "{{ slow|nonsense }}",
    "{% for i in %}{% endfor %}",
    "{{ slow|upper:1 }}",
    "{% block a %}{% endblock %}{% block a %}{% endblock %}",
    "{{ _slow }} {{ slow._x }}",
]
if django.VERSION >= (6, 0):
    TEMPLATES += [
        "{% partialdef p %}{{ slow }}{% for i in items %}{{ i }}{% endfor %}{% endpartialdef %}"
        "[{% partial p %}{% partial p %}]",
        "{% partialdef p inline %}{{ slow }}{% endpartialdef %}{% include 'corpus.html#p' %}",
        "{% partialdef p %}{{ slow|fails }}{% endpartialdef %}\n{% partial p %}{% partial q %}",
    ]
FAULTS = {"broken": Later(Failure("broken")), "vanished": Later(Missing("vanished"))}

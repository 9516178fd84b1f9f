"""`stream_template` beside `render`: the same templates, the same text, the same errors."""

import asyncio
from typing import Any

import pytest
from django.template import loader
from django.test import RequestFactory
from hypothesis import given, settings
from hypothesis import strategies as st

from notifications.streaming import stream_template
from tests.harness import template_corpus, template_values
from tests.unit.streaming.engines import ENGINES, NAME, SOURCES

pytestmark = pytest.mark.usefixtures("template_engines")


@pytest.fixture(params=[options["NAME"] for options in ENGINES])
def using(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def described(error: Exception) -> dict[str, Any]:
    """The parts of an error that a developer sees."""
    description = {"type": type(error), "args": tuple(map(str, error.args))}
    debug = getattr(error, "template_debug", None)
    if debug is not None:
        description |= {key: debug[key] for key in ("name", "line", "before", "during", "after")}
    return description


def outcome_of_render(source: str, values: dict[str, Any], using: str) -> Any:
    SOURCES.update(template_corpus.INCLUDED_TEMPLATES, **{NAME: source})
    try:
        template = loader.get_template(NAME, using)
        return template.render(template_values.resolved(values), RequestFactory().get("/"))
    except Exception as error:  # noqa: BLE001 - to be compared
        return described(error)


async def pieces(source: str, values: dict[str, Any], using: str) -> list[str]:
    SOURCES.update(template_corpus.INCLUDED_TEMPLATES, **{NAME: source})
    context = template_values.values_for_stream(values)
    stream = stream_template(RequestFactory().get("/"), NAME, context, using=using)
    try:
        return [piece async for piece in stream]
    finally:
        await stream.aclose()


def outcome_of_stream(source: str, values: dict[str, Any], using: str) -> Any:
    try:
        return "".join(asyncio.run(pieces(source, values, using)))
    except Exception as error:  # noqa: BLE001 - to be compared
        return described(error)


@pytest.mark.parametrize("source", template_corpus.TEMPLATES)
def test_it_renders_as_render_does(source: str, using: str) -> None:
    values = template_values.context()
    assert outcome_of_stream(source, values, using) == outcome_of_render(source, values, using)


def test_the_corpus_has_errors_of_all_kinds() -> None:
    """Otherwise the comparison would cover less than it seems to."""
    outcomes = [
        outcome_of_render(source, template_values.context(), "debug")
        for source in template_corpus.TEMPLATES
    ]
    errors = [outcome for outcome in outcomes if isinstance(outcome, dict)]
    assert len({error["type"] for error in errors}) >= 6
    assert len([error for error in errors if "line" in error]) >= 15
    assert len(outcomes) - len(errors) >= 80


@pytest.mark.parametrize(
    "source",
    [
        source
        for source in template_corpus.TEMPLATES
        if "broken" in source and "include" not in source
    ],
)
def test_a_value_that_fails_while_awaited_fails_at_its_position(
    source: str,
) -> None:
    values = template_values.context() | template_values.FAILING_VALUES
    error = outcome_of_stream(source, values, "debug")
    if "{% if broken" in source:  # comparisons swallow what their operands raise
        source = source.partition("{% endif %}")[2]
    assert error["type"] is template_values.Failure
    assert "broken" in error["during"]


def test_an_error_with_silent_variable_failure_is_silent() -> None:
    values = template_values.context() | template_values.FAILING_VALUES
    source = "{{ vanished }} {{ vanished.x }} {{ text }}"
    assert outcome_of_stream(source, values, "plain") == "  text"
    assert outcome_of_stream(source, values, "marked") == "!%s! !%s! text"


leaves = st.sampled_from(
    [
        *("text", "{{ slow }}", "{{ x }}", "{{ slow_markup }}", "{{ items|length }}", "{{ y }}"),
        *(
            "{{ forloop.counter }}",
            "{{ forloop.last }}",
            "{{ forloop.revcounter }}",
            "{{ slow|fails }}",
        ),
        *("{{ forloop.parentloop.last }}", "{% cycle 'a' slow 'b' %}", "{% firstof zero slow %}"),
        *(
            "{% include 'inner.html' %}",
            "{% include 'deep.html' with x=slow only %}",
            "{{ block.super }}",
        ),
        *(
            "{% peek 'x' %}",
            "{% boxed slow %}",
            "{{ thing.parts|join:slow }}",
            "{% firstof x y as x %}",
        ),
    ]
)
around = st.sampled_from(
    [
        ("{% for x in items %}", "{% empty %}none{% endfor %}"),
        ("{% for x in none %}{{ x }}{% empty %}", "{% endfor %}"),
        ("{% for x in nested %}{% for y in x %}", "{% endfor %}{% endfor %}"),
        ("{% for x, y in pairs %}", "{% endfor %}"),
        ("{% for x in items reversed %}", "{% endfor %}"),
        ("{% if slow %}", "{% endif %}"),
        ("{% if x %}a{% else %}", "{% endif %}"),
        ("{% with x=items y=slow %}", "{% endwith %}"),
        ("{% filter upper %}", "{% endfilter %}"),
        ("{% autoescape off %}", "{% endautoescape %}"),
        ("{% spaceless %}<p> ", " </p>{% endspaceless %}"),
        ("{% ifchanged %}", "{% endifchanged %}"),
        ("{% twice %}", "{% endtwice %}"),
        ("{% through %}", "{% endthrough %}"),
        ("{% load i18n %}{% language 'de' %}", "{% endlanguage %}"),
    ]
)


def _wrapped(inside: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inside, min_size=1, max_size=3).map("".join)
    return st.tuples(around, several).map(lambda drawn: drawn[0][0] + drawn[1] + drawn[0][1])


bodies = st.lists(st.recursive(leaves, _wrapped, max_leaves=8), min_size=1, max_size=4).map("".join)
pages = st.one_of(
    bodies,
    bodies.map("{{% extends 'base.html' %}}{{% block body %}}{}{{% endblock %}}".format),
    bodies.map("{{% extends 'middle.html' %}}{{% block inside %}}{}{{% endblock %}}".format),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(source=pages)
def test_any_template_renders_as_render_does(source: str) -> None:
    values = template_values.context()
    assert outcome_of_stream(source, values, "debug") == outcome_of_render(source, values, "debug")

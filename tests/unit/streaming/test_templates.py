"""`stream_template` beside `render`: the same templates, the same text, the same errors."""

import asyncio
import inspect
import sys
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.template import TemplateDoesNotExist, loader
from django.test import RequestFactory, override_settings
from django.utils.functional import SimpleLazyObject
from django.utils.translation import get_language
from hypothesis import given, settings
from hypothesis import strategies as st

from notifications.streaming import stream_template
from notifications.streaming.templates.pieces import TemplateStream
from tests.harness import template_corpus
from tests.harness.servers import ROOT

DEADLINE = 10.0
SOURCES: dict[str, str] = {}
NAME = "corpus.html"


def engine(name: str, **options: Any) -> dict[str, Any]:
    return {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "NAME": name,
        "OPTIONS": {
            "loaders": [("django.template.loaders.locmem.Loader", SOURCES)],
            "libraries": {"corpus": "tests.harness.template_corpus"},
            "builtins": ["tests.harness.template_corpus"],
            "context_processors": [
                "django.template.context_processors.request",
                f"{__name__}.whose",
            ],
            **options,
        },
    }


ENGINES = [
    engine("plain"),
    engine("debug", debug=True),
    engine("marked", string_if_invalid="!%s!"),
    engine("raw", autoescape=False),
]


def whose(request: HttpRequest) -> dict[str, Any]:
    return {"text": "overridden", "whose": request.GET.get("whose", "nobody's")}


@pytest.fixture(scope="module", autouse=True)
def _engines() -> Iterator[None]:
    with override_settings(TEMPLATES=ENGINES):
        yield


@pytest.fixture(params=[each["NAME"] for each in ENGINES])
def using(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def described(error: Exception) -> dict[str, Any]:
    """What a developer sees of it."""
    said = {"type": type(error), "args": tuple(map(str, error.args))}
    debug = getattr(error, "template_debug", None)
    if debug is not None:
        said |= {key: debug[key] for key in ("name", "line", "before", "during", "after")}
    return said


def outcome_of_render(source: str, values: dict[str, Any], using: str) -> Any:
    SOURCES.update(template_corpus.OTHERS, **{NAME: source})
    try:
        found = loader.get_template(NAME, using)
        return found.render(template_corpus.resolved(values), RequestFactory().get("/"))
    except Exception as error:  # noqa: BLE001 - to be compared
        return described(error)


async def pieces(source: str, values: dict[str, Any], using: str) -> list[str]:
    SOURCES.update(template_corpus.OTHERS, **{NAME: source})
    context = template_corpus.values_for_stream(values)
    stream = stream_template(RequestFactory().get("/"), NAME, context, using=using)
    try:
        return [each async for each in stream]
    finally:
        await stream.aclose()


def outcome_of_stream(source: str, values: dict[str, Any], using: str) -> Any:
    try:
        return "".join(asyncio.run(pieces(source, values, using)))
    except Exception as error:  # noqa: BLE001 - to be compared
        return described(error)


@pytest.mark.parametrize("source", template_corpus.TEMPLATES)
def test_it_says_what_render_says(source: str, using: str) -> None:
    values = template_corpus.context()
    assert outcome_of_stream(source, values, using) == outcome_of_render(source, values, using)


def test_the_corpus_has_errors_of_all_kinds() -> None:
    """Or the comparison would compare less than it seems to."""
    outcomes = [
        outcome_of_render(each, template_corpus.context(), "debug")
        for each in template_corpus.TEMPLATES
    ]
    errors = [each for each in outcomes if isinstance(each, dict)]
    assert len({each["type"] for each in errors}) >= 6
    assert len([each for each in errors if "line" in each]) >= 15
    assert len(outcomes) - len(errors) >= 80


@pytest.mark.parametrize(
    "source",
    [each for each in template_corpus.TEMPLATES if "broken" in each and "include" not in each],
)
def test_what_fails_while_it_is_awaited_fails_where_it_stands(source: str) -> None:
    values = template_corpus.context() | template_corpus.FAULTS
    said = outcome_of_stream(source, values, "debug")
    if "{% if broken" in source:  # comparisons swallow what their operands raise
        source = source.partition("{% endif %}")[2]
    assert said["type"] is template_corpus.Failure
    assert "broken" in said["during"]


def test_an_error_that_says_so_is_silent() -> None:
    values = template_corpus.context() | template_corpus.FAULTS
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
    return st.tuples(around, several).map(lambda each: each[0][0] + each[1] + each[0][1])


bodies = st.lists(st.recursive(leaves, _wrapped, max_leaves=8), min_size=1, max_size=4).map("".join)
pages = st.one_of(
    bodies,
    bodies.map("{{% extends 'base.html' %}}{{% block body %}}{}{{% endblock %}}".format),
    bodies.map("{{% extends 'middle.html' %}}{{% block inside %}}{}{{% endblock %}}".format),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(source=pages)
def test_whatever_the_template_it_says_what_render_says(source: str) -> None:
    values = template_corpus.context()
    assert outcome_of_stream(source, values, "debug") == outcome_of_render(source, values, "debug")


class Steps:
    """A value that is there when the test says so, and items likewise."""

    def __init__(self) -> None:
        self._gates: dict[str, asyncio.Event] = {}
        self.closed = False

    def gate(self, name: str) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())

    async def value(self, name: str) -> str:
        await self.gate(name).wait()
        return name

    async def items(self, *names: str) -> AsyncGenerator[str]:
        try:
            for name in names:
                yield await self.value(name)
        finally:
            await asyncio.sleep(0)
            self.closed = True


@asynccontextmanager
async def streaming(source: str, **context: Any) -> AsyncIterator[TemplateStream]:
    SOURCES.update(template_corpus.OTHERS, **{NAME: source})
    request = RequestFactory().get("/?whose=ada's")
    stream = stream_template(request, NAME, context, using="plain")
    async with asyncio.timeout(DEADLINE), aclosing(stream):
        yield stream


async def test_what_is_ready_goes_out_before_the_rest_is_waited_for() -> None:
    steps = Steps()
    source = (
        "a{% if 1 %}b{{ slow }}c{% for i in items %}<{{ i }}>{% empty %}{% endfor %}d{% endif %}"
    )
    async with streaming(source, slow=steps.value("s"), items=steps.items("1", "2")) as stream:
        assert await anext(stream) == "ab"
        for name, text in ("s", "sc"), ("1", "<1>"), ("2", "<2>"):
            steps.gate(name).set()
            assert await anext(stream) == text
        assert [each async for each in stream] == ["d"]
    assert steps.closed


async def test_an_item_waits_for_the_next_only_if_it_has_to_know_it() -> None:
    steps = Steps()
    source = "{% for i in items %}{{ i }}{% if forloop.last %}.{% else %},{% endif %}{% endfor %}"
    async with streaming(source, items=steps.items("1", "2")) as stream:
        steps.gate("1").set()
        assert await anext(stream) == "1"
        steps.gate("2").set()
        assert "".join([each async for each in stream]) == ",2."


async def test_blocks_includes_and_languages_stream_as_well() -> None:
    steps = Steps()
    SOURCES["part.html"] = "({% for i in y %}{{ i }}{% endfor %})"
    source = (
        "{% extends 'base.html' %}{% load i18n %}{% block title %}{% language 'de' %}"
        "{% with y=items %}{% include 'part.html' %}{% endwith %}{% endlanguage %}{% endblock %}"
    )
    async with streaming(source, items=steps.items("1", "2")) as stream:
        assert await anext(stream) == "<("
        steps.gate("1").set()
        assert await anext(stream) == "1"
        assert get_language() == "en-us"
        steps.gate("2").set()
        assert [each async for each in stream] == ["2", ")|12>"]


async def test_who_leaves_closes_what_was_begun() -> None:
    steps = Steps()
    unused = steps.value("never")
    async with streaming(
        "{% for i in items %}{{ i }}{% endfor %}", items=steps.items("1", "2"), u=unused
    ) as stream:
        steps.gate("1").set()
        assert await anext(stream) == "1"
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert steps.closed
    assert inspect.getcoroutinestate(unused) == inspect.CORO_CLOSED


async def test_who_never_comes_leaves_nothing_behind() -> None:
    steps = Steps()
    async with streaming("{{ s }}", s=steps.value("s")):
        pass
    with pytest.raises(TemplateDoesNotExist):
        stream_template(
            None, ["nowhere.html", "either.html"], {"s": steps.value("s")}, using="plain"
        )


async def test_much_text_goes_out_in_parts() -> None:
    async with streaming(
        "{% for i in rows %}{{ i }}{% endfor %}", rows=["x" * 1000] * 50
    ) as stream:
        sizes = [len(each) async for each in stream]
    assert sum(sizes) == 50_000
    assert max(sizes) < 10_000


async def test_context_processors_run_and_what_is_given_comes_first() -> None:
    async with streaming("{{ whose }} {{ text }} {{ request.path }}", text="given") as stream:
        assert [each async for each in stream] == ["ada&#x27;s given /"]
    stream = stream_template(None, NAME, {"text": "given"}, using="plain")
    assert [each async for each in stream] == [" given "]


async def test_rows_of_an_endless_source_are_not_kept() -> None:
    class Row:
        pass

    class Rows:
        async def __aiter__(self) -> AsyncIterator[Row]:
            while True:
                rows.append(weakref.ref(row := Row()))
                yield row
                del row

    rows: list[weakref.ref[Row]] = []
    async with streaming(
        "{% for r in rows %}<{{ forloop.counter }}>{% endfor %}", rows=Rows()
    ) as stream:
        for number in range(1, 50):
            assert await anext(stream) == f"<{number}>"
    assert len([each for each in rows if each() is not None]) <= 2


@pytest.mark.django_db(transaction=True)
async def test_the_orm_is_asked_in_a_thread() -> None:
    group = await Group.objects.acreate(name="ringers")
    user = await User.objects.acreate(username="ada")
    await user.groups.aadd(group)
    source = (
        "{{ user.groups.count }}{{ user.groups.acount }}"
        "{% for g in user.groups.all %}{{ g }}{% endfor %}"
        "{{ lazy }}{{ groups|length }}{% if groups %}yes{% endif %}{{ user.groups.first.name }}"
    )
    lazy = SimpleLazyObject(lambda: Group.objects.get(name="ringers"))
    groups = Group.objects.all()
    async with streaming(source, user=user, lazy=lazy, groups=groups) as stream:
        assert "".join([each async for each in stream]) == "11ringersringers1yesringers"


def test_another_engine_is_refused_with_the_cure() -> None:
    other = {
        "BACKEND": "django.template.backends.dummy.TemplateStrings",
        "DIRS": [ROOT / "templates"],
    }
    refused = pytest.raises(ImproperlyConfigured, match="generate_async")
    with override_settings(TEMPLATES=[other]), refused:
        stream_template(None, "carillon/page.html")


def test_without_greenlet_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "notifications.streaming.templates.pieces")
    monkeypatch.setitem(sys.modules, "greenlet", None)
    SOURCES[NAME] = ""
    with pytest.raises(ImproperlyConfigured, match=r"django-carillon\[templates\]"):
        stream_template(None, NAME, using="plain")

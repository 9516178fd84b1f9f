"""`stream_template`: ready text is sent at once, values are awaited, and the end closes them."""

import asyncio
import inspect
import sys
import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ImproperlyConfigured
from django.template import TemplateDoesNotExist
from django.test import RequestFactory, override_settings
from django.utils.functional import SimpleLazyObject
from django.utils.translation import get_language

from notifications.streaming import stream_template
from notifications.streaming.templates.pieces import TemplateStream
from tests.harness import template_corpus
from tests.harness.servers import ROOT
from tests.unit.streaming.engines import NAME, SOURCES

pytestmark = pytest.mark.usefixtures("template_engines")

DEADLINE_SECONDS = 60.0


class Steps:
    """Values and items that are ready when the test opens their gate."""

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
    SOURCES.update(template_corpus.INCLUDED_TEMPLATES, **{NAME: source})
    request = RequestFactory().get("/?user_name=ada's")
    stream = stream_template(request, NAME, context, using="plain")
    async with asyncio.timeout(DEADLINE_SECONDS), aclosing(stream):
        yield stream


async def test_ready_text_is_sent_before_the_next_value_is_awaited() -> None:
    steps = Steps()
    source = (
        "a{% if 1 %}b{{ slow }}c{% for i in items %}<{{ i }}>{% empty %}{% endfor %}d{% endif %}"
    )
    async with streaming(source, slow=steps.value("s"), items=steps.items("1", "2")) as stream:
        assert await anext(stream) == "ab"
        for name, text in ("s", "sc"), ("1", "<1>"), ("2", "<2>"):
            steps.gate(name).set()
            assert await anext(stream) == text
        assert [piece async for piece in stream] == ["d"]
    assert steps.closed


async def test_an_item_waits_for_the_next_only_if_its_text_depends_on_it() -> None:
    steps = Steps()
    source = "{% for i in items %}{{ i }}{% if forloop.last %}.{% else %},{% endif %}{% endfor %}"
    async with streaming(source, items=steps.items("1", "2")) as stream:
        steps.gate("1").set()
        assert await anext(stream) == "1"
        steps.gate("2").set()
        assert "".join([piece async for piece in stream]) == ",2."


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
        assert [piece async for piece in stream] == ["2", ")|12>"]


async def test_a_reader_that_leaves_closes_iterators_and_coroutines() -> None:
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


async def test_a_stream_that_is_never_read_closes_its_coroutines() -> None:
    steps = Steps()
    async with streaming("{{ s }}", s=steps.value("s")):
        pass
    with pytest.raises(TemplateDoesNotExist):
        stream_template(
            None, ["nowhere.html", "either.html"], {"s": steps.value("s")}, using="plain"
        )


async def test_much_text_is_sent_in_several_pieces() -> None:
    async with streaming(
        "{% for i in rows %}{{ i }}{% endfor %}", rows=["x" * 1000] * 50
    ) as stream:
        sizes = [len(piece) async for piece in stream]
    assert sum(sizes) == 50_000
    assert max(sizes) < 10_000


async def test_context_processors_run_and_the_views_values_come_first() -> None:
    async with streaming("{{ user_name }} {{ text }} {{ request.path }}", text="given") as stream:
        assert [piece async for piece in stream] == ["ada&#x27;s given /"]
    stream = stream_template(None, NAME, {"text": "given"}, using="plain")
    assert [piece async for piece in stream] == [" given "]


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
    assert len([row for row in rows if row() is not None]) <= 2


@pytest.mark.django_db(transaction=True)
async def test_the_orm_is_called_in_a_thread() -> None:
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
        assert "".join([piece async for piece in stream]) == "11ringersringers1yesringers"


def test_another_engine_is_refused_with_advice() -> None:
    other = {
        "BACKEND": "django.template.backends.dummy.TemplateStrings",
        "DIRS": [ROOT / "templates"],
    }
    refused = pytest.raises(ImproperlyConfigured, match="generate_async")
    with override_settings(TEMPLATES=[other]), refused:
        stream_template(None, "carillon/page.html")


def test_without_greenlet_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "notifications.streaming.templates.pieces")
    monkeypatch.setitem(sys.modules, "greenlet", None)
    SOURCES[NAME] = ""
    with pytest.raises(ImproperlyConfigured, match=r"django-carillon\[templates\]"):
        stream_template(None, NAME, using="plain")

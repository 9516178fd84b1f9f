"""HTML that is rendered once for everybody."""

import json
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpRequest
from django.test import AsyncClient
from pytest_django import Settings as DjangoSettings

from notifications import (
    Conflict,
    Invalid,
    TooLarge,
    apublish_html,
    html_event,
    publish_html,
    publish_html_on_commit,
    publish_html_outbox,
)
from notifications.events import Event
from notifications.models import OutboxEvent
from notifications.publishing.outbox import table
from tests.harness.published import read_published_in_thread

pytestmark = pytest.mark.usefixtures("own_log")

TEMPLATES = {
    "row.html": "\n<li>{{ text }}</li>\n",
    "form.html": "<form>{% csrf_token %}</form>",
    "shown.html": "<p>{{ csrf_token }}</p>",
    "includes.html": "{% include 'form.html' only %}",
    "of_request.html": "<p>{{ user }}{{ request }}{{ messages }}</p>",
    "text.html": "no element",
}


@pytest.fixture(autouse=True)
def templates(settings: DjangoSettings) -> None:
    [configured] = settings.TEMPLATES
    loaders = [("django.template.loaders.locmem.Loader", TEMPLATES)]
    options = {**configured["OPTIONS"], "loaders": loaders}
    settings.TEMPLATES = [{**configured, "APP_DIRS": False, "OPTIONS": options}]


def test_html_is_rendered_once_and_marked_in_the_log() -> None:
    event = publish_html("demo.a", "row.html", {"text": "<b>"}, target="list", swap="append")
    assert event.data == "<li>&lt;b&gt;</li>"
    assert event.cursor is not None
    [entry] = read_published_in_thread()
    assert (entry.data, entry.swap, entry.type) == (
        b"<li>&lt;b&gt;</li>",
        b"append #list",
        b"html",
    )


async def test_it_can_be_published_from_a_loop() -> None:
    event = await apublish_html("demo.a", ["none.html", "row.html"], target=".rows")
    assert str(event.swap) == "inner .rows"


def test_a_key_that_comes_again_publishes_nothing_and_guards_the_target_too() -> None:
    def publish(target: str) -> str | None:
        return publish_html("demo.a", "row.html", target=target, idempotency_key="k").cursor

    assert publish("list") == publish("list")
    with pytest.raises(Conflict):
        publish("other")


@pytest.mark.parametrize("name", ["form.html", "shown.html", "includes.html"])
def test_a_template_with_a_csrf_token_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="rendered for everybody"):
        publish_html("demo.a", name, target="list")
    assert read_published_in_thread() == []


def test_no_context_processor_gives_it_anything_of_a_request() -> None:
    assert html_event("demo.a", "of_request.html", target="list").data == "<p></p>"
    with pytest.raises(Invalid, match="'request' is one person's request"):
        html_event("demo.a", "of_request.html", {"request": HttpRequest()}, target="list")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"target": ""}, "target"),
        ({"target": "a b"}, "target"),
        ({"target": "a:hover"}, "target"),
        ({"target": '"><script>'}, "target"),
        ({"target": "list", "swap": "spin"}, "swap"),
        ({"target": "list", "swap": "outer"}, "swap"),
    ],
)
def test_what_no_library_could_put_into_a_page_is_refused(
    arguments: dict[str, str], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        publish_html("demo.a", "text.html", **arguments)  # type: ignore[arg-type]
    assert refused.value.extensions["field"] == field


def test_html_has_the_limit_of_all_events() -> None:
    with pytest.raises(TooLarge):
        publish_html("demo.a", "row.html", {"text": "x" * 70_000}, target="list")


def test_a_removal_renders_nothing() -> None:
    assert publish_html("demo.a", "no-such.html", target="list", swap="remove").data == ""


@pytest.mark.django_db(transaction=True)
def test_it_waits_for_the_commit_with_the_state_of_the_call() -> None:
    with transaction.atomic():
        publish_html_on_commit("demo.a", "row.html", {"text": "a"}, target="list")
        assert read_published_in_thread() == []
    [entry] = read_published_in_thread()
    assert (entry.data, entry.swap) == (b"<li>a</li>", b"inner #list")


@pytest.mark.django_db
def test_the_outbox_keeps_the_mark() -> None:
    publish_html_outbox("demo.a", "row.html", target="list", swap="after")
    assert str(waiting_event().swap) == "after #list"
    OutboxEvent.objects.update(swap="")
    assert waiting_event().swap is None


def waiting_event() -> Event:
    [row] = table.oldest("default", 10)
    [event] = row.events()
    return event.draft(event.data).event


@pytest.mark.parametrize("field", ["swap", "html", "target"])
@pytest.mark.parametrize("form", ["application/json", "application/x-www-form-urlencoded"])
async def test_no_request_can_mark_its_event(
    async_client: AsyncClient, field: str, form: str
) -> None:
    body = {"topic": "demo.a", "data": "<b>", "type": "html", field: "inner #list"}
    content: Any = (
        json.dumps(body)
        if form.endswith("json")
        else "&".join(f"{name}={value}" for name, value in body.items())
    )
    key = {"Authorization": "Bearer a-publish-key-for-the-tests"}
    answer = await async_client.post("/publish/", content, content_type=form, headers=key)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field

"""What people choose holds: for the list, by the page and by JSON, on every database."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections
from django.test import Client as DjangoClient
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from notifications import notify
from notifications.inbox import category, lists, withdraw
from notifications.inbox.models import Notification, Preference
from notifications.inbox.preferences.person import read_preferences
from notifications.inbox.states import State
from tests.unit.inbox.inboxes import Inboxes
from tests.unit.inbox.shop import no_kinds, shop

URL, PAGE = "/inbox/preferences", "/inbox/preferences/page/"


@pytest.fixture(autouse=True)
def declared() -> Iterator[None]:
    with shop():
        yield


@pytest.fixture
def client(inboxes: Inboxes) -> DjangoClient:
    """Ada's browser."""
    client = DjangoClient(enforce_csrf_checks=True)
    client.force_login(inboxes.ada)
    client.cookies["csrftoken"] = "a" * 32
    return client


def post(client: DjangoClient, body: object) -> Any:
    headers = {"X-CSRFToken": "a" * 32}
    return client.post(URL, json.dumps(body), content_type="application/json", headers=headers)


def channels_of(content: dict[str, Any], name: str) -> dict[str, tuple[bool, bool]]:
    [found] = [each for each in content["categories"] if each["name"] == name]
    return {name: (each["on"], each["fixed"]) for name, each in found["channels"].items()}


def switch(client: DjangoClient, name: str, channel: str, on: bool) -> None:
    assert post(client, {"categories": {name: {channel: on}}}).status_code == 200


def test_without_a_choice_the_defaults_of_the_categories_hold(
    inboxes: Inboxes, client: DjangoClient
) -> None:
    with CaptureQueriesContext(connections[inboxes.alias]) as queries:
        content = read_preferences(inboxes.ada)
    assert len(queries) == 2
    assert client.get(URL).json() == content
    assert [each["title"] for each in content["categories"]] == [
        "<News>",
        "Alarms",
        "Orders",
        "Tips",
    ]
    assert channels_of(content, "orders") == {"in-app": (True, True), "email": (True, False)}
    assert channels_of(content, "news") == {"in-app": (False, False), "email": (False, False)}
    assert channels_of(content, "tips") == {"in-app": (True, False)}
    assert content["quiet"] is None
    assert (content["time_zone"], content["digest"], content["digest_at"]) == ("", "off", "08:00")


def test_where_nothing_can_be_chosen_there_is_no_category(inboxes: Inboxes) -> None:
    names = [each["name"] for each in read_preferences(inboxes.ada)["categories"]]
    assert "" not in names  # that of the kind "message"


def test_what_is_chosen_is_kept_and_the_rest_stays(inboxes: Inboxes, client: DjangoClient) -> None:
    switch(client, "orders", "email", on=False)
    switch(client, "news", "in-app", on=True)
    answer = post(client, {"quiet": {"from": "22:00", "until": "07:30"}})
    assert answer.status_code == 200
    assert post(client, {"time_zone": "Europe/Berlin", "digest": "weekly"}).status_code == 200
    assert post(client, {"digest_at": "18:15", "digest_weekday": 5}).status_code == 200
    switch(client, "orders", "email", on=True)
    switch(client, "orders", "email", on=False)
    content = client.get(URL).json()
    assert channels_of(content, "orders")["email"] == (False, False)
    assert channels_of(content, "news")["in-app"] == (True, False)
    del content["categories"]
    assert content == {
        "time_zone": "Europe/Berlin",
        "quiet": {"from": "22:00", "until": "07:30"},
        "digest": "weekly",
        "digest_at": "18:15",
        "digest_weekday": 5,
    }
    assert post(client, {"quiet": None, "time_zone": ""}).json()["quiet"] is None
    assert client.get(URL).json()["digest"] == "weekly"
    assert Preference.objects.count() == 2
    assert read_preferences(inboxes.bob)["digest"] == "off"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (
            {"categories": {"alarms": {"email": False}}},
            "'alarms' by 'email' cannot be switched off",
        ),
        ({"categories": {"orders": {"in-app": False}}}, "'orders' by 'in-app' cannot be"),
        ({"categories": {"tips": {"email": True}}}, "There is nothing to choose for 'tips'"),
        ({"categories": {"other": {"email": True}}}, "There is nothing to choose for 'other'"),
        ({"categories": {"orders": {"fax": True}}}, "categories.orders.fax"),
        ({"categories": {"orders": {"email": "no"}}}, "categories.orders.email: "),
        ({"time_zone": "Europe/Atlantis"}, "There is no time zone"),
        ({"time_zone": "x" * 65}, "time_zone: "),
        ({"quiet": {"from": "22:00", "until": "22:00"}}, "Quiet hours begin and end at different"),
        ({"quiet": {"from": "22:00"}}, "quiet.until: "),
        ({"quiet": {"from": "22:00", "until": "24:00"}}, "quiet.until: "),
        ({"digest": "hourly"}, "digest: "),
        ({"digest_weekday": 0}, "digest_weekday: "),
        ({"colour": "red"}, "colour: there is no such parameter: they are categories, time_zone"),
        ([], "Send a JSON object"),
    ],
)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_bad_input_is_a_problem_and_changes_nothing(
    inboxes: Inboxes, client: DjangoClient, body: object, detail: str
) -> None:
    before = read_preferences(inboxes.ada)
    answer = post(client, body)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert answer.json()["detail"].startswith(detail), answer.json()
    assert read_preferences(inboxes.ada) == before


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_nobody_another_page_and_other_methods_are_refused(
    inboxes: Inboxes, client: DjangoClient
) -> None:
    assert DjangoClient().get(URL).status_code == 401
    assert post(DjangoClient(), {}).status_code == 401
    forged = client.post(URL, "{}", content_type="application/json")
    assert forged.status_code == 403
    assert (client.put(URL).status_code, client.post(PAGE).status_code) == (405, 405)
    browser = DjangoClient(headers={"Accept": "text/html"})
    assert browser.get(PAGE)["Location"].startswith("/login/?next=")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_database_that_is_away_is_a_503(
    client: DjangoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DatabaseError

    monkeypatch.setattr("notifications.views.preferences.read_preferences", fail)
    assert (client.get(URL).status_code, client.get(PAGE).status_code) == (503, 503)


# The page


def boxes_of(html: str) -> dict[str, str]:
    """What a browser sends of the page as it stands."""
    parts = html.split("<input ")[1:]
    return {
        part.partition('value="')[2].partition('"')[0]: part.partition(">")[0]
        for part in parts
        if 'name="on"' in part
    }


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_page_is_a_form_with_every_choice(inboxes: Inboxes, client: DjangoClient) -> None:
    answer = client.get(PAGE)
    html = answer.content.decode()
    boxes = boxes_of(html)
    assert list(boxes) == [
        *("in-app:news", "email:news"),
        *("email:orders", "in-app:tips"),
    ]
    assert {name for name, box in boxes.items() if "checked" in box} == {
        "email:orders",
        "in-app:tips",
    }
    assert html.count("checked disabled") == 3  # what cannot be switched off
    assert "&lt;News&gt;" in html
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert "no-store" in answer["Cache-Control"]
    assert "/inbox/preferences/page/" in client.get("/inbox/page/").content.decode()
    with translation.override("de"):
        assert "Ruhezeit" in client.get(PAGE).content.decode()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_form_saves_what_is_ticked_and_what_is_not(
    inboxes: Inboxes, client: DjangoClient
) -> None:
    fields = {
        "csrfmiddlewaretoken": "a" * 32,
        "shown": ["in-app:news", "email:news", "email:orders", "in-app:tips"],
        "on": ["in-app:news", "in-app:tips"],
        "digest": "daily",
        "digest_at": "18:00",
        "digest_weekday": "1",
        "quiet": "on",
        "quiet_from": "21:00",
        "quiet_until": "06:00",
        "time_zone": "Asia/Tokyo",
    }
    answer = client.post(URL, fields)
    assert (answer.status_code, answer["Location"]) == (303, f"{PAGE}?saved")
    content = read_preferences(inboxes.ada)
    assert channels_of(content, "news")["in-app"] == (True, False)
    assert channels_of(content, "orders")["email"] == (False, False)
    assert content["quiet"] == {"from": "21:00", "until": "06:00"}
    assert (content["digest"], content["time_zone"]) == ("daily", "Asia/Tokyo")
    page = client.get(f"{PAGE}?saved").content.decode()
    assert "Saved." in page
    assert "<option selected>Asia/Tokyo</option>" in page
    del fields["quiet"]
    client.post(URL, fields)
    assert read_preferences(inboxes.ada)["quiet"] is None


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_page_of_a_site_without_choices_is_empty(
    inboxes: Inboxes, client: DjangoClient
) -> None:
    with no_kinds():
        assert "There is nothing to choose here." in client.get(PAGE).content.decode()
        assert "/inbox/preferences/page/" not in client.get("/inbox/page/").content.decode()


# In the list


def test_who_wants_none_in_the_inbox_gets_none_and_the_row_stays(
    inboxes: Inboxes, client: DjangoClient
) -> None:
    switch(client, "tips", "in-app", on=False)
    both = [inboxes.ada, inboxes.bob]
    assert notify(both, "tip", {"n": 1}) == 2
    assert notify(both, "news") == 2
    assert inboxes.relay() == 1
    assert (inboxes.texts(inboxes.ada), inboxes.texts(inboxes.bob)) == ([], ["Tip 1"])
    assert lists.counts(inboxes.ada)["unseen"] == 0
    assert inboxes.published(inboxes.ada) == []
    assert Notification.objects.filter(state=State.MUTED, pending=False, number=None).count() == 3
    switch(client, "tips", "in-app", on=True)
    notify(inboxes.ada, "tip", {"n": 2})
    inboxes.relay()
    assert inboxes.texts(inboxes.ada) == ["Tip 2"]


def test_one_that_is_replaced_leaves_pages_that_are_open(
    inboxes: Inboxes, client: DjangoClient
) -> None:
    notify(inboxes.ada, "tip", {"n": 1}, replaces="tip")
    inboxes.relay()
    switch(client, "tips", "in-app", on=False)
    notify(inboxes.ada, "tip", {"n": 2}, replaces="tip")
    inboxes.relay()
    last = inboxes.published(inboxes.ada)[-1]
    assert [entry["state"] for entry in last["notifications"]] == ["muted"]
    assert last["counts"]["unread"] == 0
    assert inboxes.texts(inboxes.ada) == []


def test_what_is_muted_can_be_withdrawn_without_an_event(
    inboxes: Inboxes, client: DjangoClient
) -> None:
    notify(inboxes.ada, "news", group="sale")
    assert withdraw(group="sale") == 1
    assert inboxes.relay() == 0
    assert Notification.objects.get().state == State.WITHDRAWN


def test_a_category_without_that_choice_costs_no_query(inboxes: Inboxes) -> None:
    with CaptureQueriesContext(connections[inboxes.alias]) as queries:
        notify(inboxes.ada, "message", {"text": "x"})
    assert "carillon_inbox_preference" not in "".join(each["sql"] for each in queries)


def test_a_choice_that_there_is_not_is_named() -> None:
    with pytest.raises(ImproperlyConfigured, match="'in-app', 'email', 'push' to one of 'on'"):
        category("x", choices={"email": "never"})
    with pytest.raises(ImproperlyConfigured, match="'fax' is not a valid Channel"):
        category("x", choices={"fax": "on"})

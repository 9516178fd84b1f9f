"""`/inbox/`: a person reads and changes what is theirs, and nothing else."""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError
from django.test import Client as DjangoClient
from django.utils import translation

from notifications import notify
from notifications.inbox import kind, mark
from notifications.log.cursors import Cursor
from tests.unit.inbox.inboxes import Inboxes

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
kind("alarm.test", text="Alarm", category="alarms")


@pytest.fixture
def client(inboxes: Inboxes) -> DjangoClient:
    """Ada's browser."""
    client = DjangoClient(enforce_csrf_checks=True)
    client.force_login(inboxes.ada)
    client.cookies["csrftoken"] = "a" * 32
    return client


def post(client: DjangoClient, action: str, body: object, **headers: str) -> Any:
    headers = {"X-CSRFToken": "a" * 32, **headers}
    return client.post(
        f"/inbox/{action}", json.dumps(body), content_type="application/json", headers=headers
    )


def add(inboxes: Inboxes, *texts: str, user: Any = None) -> None:
    for text in texts:
        notify(user or inboxes.ada, "message", {"text": text})
    inboxes.relay()


def test_pages_newest_first_with_counts_and_the_cursor(
    inboxes: Inboxes, client: DjangoClient
) -> None:
    add(inboxes, *"abcde")
    add(inboxes, "other", user=inboxes.bob)
    texts, url = list[str](), "/inbox/?limit=2"
    while url:
        answer = client.get(url)
        assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
        body = answer.json()
        texts += [each["text"] for each in body["notifications"]]
        assert body["counts"] == {
            "unseen": 5,
            "unread": 5,
            "categories": {"": {"unseen": 5, "unread": 5}},
        }
        assert Cursor.parse(body["cursor"])
        url = body["next"]
    assert texts == list("edcba")


def test_filters(inboxes: Inboxes, client: DjangoClient) -> None:
    add(inboxes, "a", "b", "c")
    notify(inboxes.ada, "alarm.test")
    inboxes.relay()
    newest, c, b, a = inboxes.ids(inboxes.ada)
    mark(inboxes.ada, "archive", ids=[a])
    mark(inboxes.ada, "read", ids=[b])
    mark(inboxes.ada, "seen", ids=[c])
    for query, expected in [
        ("", [newest, c, b]),
        ("state=unseen", [newest]),
        ("state=unread", [newest, c]),
        ("state=read", [b]),
        ("state=archived", [a]),
        ("state=all", [newest, c, b, a]),
        ("category=alarms", [newest]),
        ("category=", [c, b]),
        ("kind=message", [c, b]),
        (f"id={a}&id={newest}", [newest, a]),
        (f"id={uuid4()}", []),
    ]:
        shown = client.get(f"/inbox/?{query}").json()["notifications"]
        assert [each["id"] for each in shown] == list(map(str, expected)), query


def test_actions_change_what_is_theirs_once(inboxes: Inboxes, client: DjangoClient) -> None:
    add(inboxes, "a", "b")
    add(inboxes, "other", user=inboxes.bob)
    _, a = inboxes.ids(inboxes.ada)
    [others] = inboxes.ids(inboxes.bob)
    number = client.get("/inbox/").json()["notifications"][0]["number"]
    for action, body, changed, unseen in [
        ("seen", {"ids": [str(a), str(others), str(uuid4())]}, 1, 1),
        ("seen", {"ids": [str(a)]}, 0, 1),
        ("read", {"up_to": number}, 2, 0),
        ("unread", {"ids": [a.hex]}, 1, 0),
        ("archive", {"up_to": number, "category": "alarms"}, 0, 0),
        ("archive", {"up_to": number, "category": ""}, 2, 0),
    ]:
        answer = post(client, action, body)
        assert answer.status_code == 200, answer.content
        assert answer.json()["changed"] == changed
        assert answer.json()["counts"]["unseen"] == unseen
    assert inboxes.states(inboxes.ada) == ["archived", "archived"]
    assert inboxes.states(inboxes.bob) == ["unseen"]
    assert inboxes.relay() == 4


def test_a_form_is_answered_with_the_page(inboxes: Inboxes, client: DjangoClient) -> None:
    add(inboxes, "a", "b")
    _, a = inboxes.ids(inboxes.ada)
    fields = {"id": [str(a)], "csrfmiddlewaretoken": "a" * 32}
    answer = client.post("/inbox/read", fields)
    assert (answer.status_code, answer["Location"]) == (303, "/inbox/page/")
    assert inboxes.states(inboxes.ada) == ["unseen", "read"]


def test_text_is_in_the_language_of_the_request(inboxes: Inboxes, client: DjangoClient) -> None:
    add(inboxes, "a")
    with translation.override("de"):
        [shown] = client.get("/inbox/").json()["notifications"]
    assert shown["language"] == "de"


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limit=0", "limit: "),
        ("limit=101", "limit: "),
        ("limit=x", "limit: "),
        (f"before=-{2**63}", "before: "),
        (f"before={2**63}", "before: "),
        ("state=new", "state: "),
        ("id=1", "id.0: "),
        ("page=2", "page: there is no such parameter: they are limit, before, state"),
    ],
)
def test_a_bad_query_is_a_problem_that_names_it(
    client: DjangoClient, query: str, detail: str
) -> None:
    answer = client.get(f"/inbox/?{query}")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert answer.json()["detail"].startswith(detail)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"ids": [], "up_to": 1}, 400),
        ({"ids": ["x"]}, 400),
        ({"ids": [str(uuid4())] * 1_001}, 400),
        ({"up_to": "all"}, 400),
        ({"up_to": 1, "all": True}, 400),
        ([], 400),
        ("x" * 70_000, 413),
    ],
)
def test_a_bad_body_is_a_problem_and_changes_nothing(
    inboxes: Inboxes, client: DjangoClient, body: object, status: int
) -> None:
    add(inboxes, "a")
    answer = post(client, "read", body)
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert inboxes.states(inboxes.ada) == ["unseen"]


def test_text_that_is_no_json_and_other_types_are_problems(client: DjangoClient) -> None:
    headers = {"X-CSRFToken": "a" * 32}
    broken = client.post("/inbox/read", "{", content_type="application/json", headers=headers)
    other = client.post("/inbox/read", "a", content_type="text/plain", headers=headers)
    assert (broken.status_code, other.status_code) == (400, 415)


def test_nobody_another_page_and_other_methods_are_refused(
    inboxes: Inboxes, client: DjangoClient
) -> None:
    nobody = DjangoClient()
    assert nobody.get("/inbox/").status_code == 401
    assert post(nobody, "read", {"up_to": 1}).status_code == 401
    forged = post(client, "read", {"up_to": 1}, **{"X-CSRFToken": "b" * 32})
    assert (forged.status_code, forged.json()["type"]) == (403, "urn:carillon:problem:forbidden")
    wrong = client.delete("/inbox/")
    assert (wrong.status_code, wrong["Allow"]) == (405, "GET, HEAD")
    assert client.get("/inbox/read").status_code == 405
    key = {"Authorization": "Bearer a-publish-key-for-the-tests"}
    inboxes_key = DjangoClient(headers=key).get("/inbox/")
    assert inboxes_key.status_code == 401
    assert client.head("/inbox/").status_code == 200


def test_a_database_that_is_away_is_a_503(
    client: DjangoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DatabaseError

    monkeypatch.setattr("notifications.views.inbox.counts", fail)
    answer = client.get("/inbox/")
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    assert answer.json()["type"] == "urn:carillon:problem:database-away"

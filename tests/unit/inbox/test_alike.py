"""Notifications that one call writes to many: one is loaded, and each person has their own."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings as DjangoSettings

from notifications import notify
from notifications.inbox import completion, kind, mark
from notifications.inbox.lists import short_entry, short_json
from notifications.inbox.models import Notification
from notifications.inbox.numbering import Numbered, give_numbers
from notifications.inbox.states import State
from tests.unit.inbox.inboxes import Inboxes

greeting = kind("alike.greeting", text="Hello {{ name }}, {{ text }}")


@greeting
def greet(notification: Notification) -> Mapping[str, Any]:
    return {"name": notification.recipient.get_username()}


def language_of(user: User) -> str:
    return {"ada": "de", "bob": "en"}.get(user.username, "")


def entry(inboxes: Inboxes, user: User) -> dict[str, Any]:
    """Of the one notification that was published to a person."""
    [data] = inboxes.published(user)
    [shown] = data["notifications"]
    assert isinstance(shown, dict)
    return shown


def test_each_has_a_row_of_their_own_with_the_same_content(inboxes: Inboxes) -> None:
    notify([inboxes.ada, inboxes.bob], "message", {"text": "Closed on <Friday>."}, url="/x/")
    assert inboxes.relay() == 2
    of_ada, of_bob = (entry(inboxes, user) for user in (inboxes.ada, inboxes.bob))
    assert {of_ada["id"], of_bob["id"]} == set(
        map(str, Notification.objects.values_list("pk", flat=True))
    )
    assert of_ada["text"] == "Closed on <Friday>."
    for each in ("kind", "text", "html", "url", "created", "version", "state"):
        assert of_ada[each] == of_bob[each]


def test_many_take_no_query_of_their_own(inboxes: Inboxes) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connections[inboxes.alias]) as captured:
            inboxes.relay()
        return len(captured)

    notify([inboxes.ada, inboxes.bob], "message", {"text": "few"})
    for_two = queries()
    User.objects.bulk_create([User(username=f"u{n}") for n in range(50)])
    notify(User.objects.all(), "message", {"text": "many"})
    assert queries() <= for_two


def test_each_reads_it_in_their_own_language(inboxes: Inboxes, settings: DjangoSettings) -> None:
    path = "tests.unit.inbox.test_alike.language_of"
    settings.CARILLON = {**settings.CARILLON, "INBOX_LANGUAGE": path}
    kind("alike.date", text="{% load i18n %}{% translate 'Yes' %}")
    notify([inboxes.ada, inboxes.bob], "alike.date")
    inboxes.relay()
    shown = [entry(inboxes, user) for user in (inboxes.ada, inboxes.bob)]
    assert [(each["language"], each["text"]) for each in shown] == [("de", "Ja"), ("en", "Yes")]


def test_a_kind_that_looks_at_the_row_is_asked_for_each(inboxes: Inboxes) -> None:
    notify([inboxes.ada, inboxes.bob], "alike.greeting", {"text": "hi"})
    inboxes.relay()
    assert entry(inboxes, inboxes.ada)["text"] == "Hello ada, hi"
    assert entry(inboxes, inboxes.bob)["text"] == "Hello bob, hi"


def test_one_that_is_deleted_meanwhile_takes_no_other_along(
    inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that would have stood for the others."""

    def give_and_delete(ids: Sequence[str], using: str) -> dict[str, Numbered]:
        numbered = give_numbers(ids, using)
        Notification.objects.filter(pk=ids[0]).delete()
        return numbered

    monkeypatch.setattr(completion, "give_numbers", give_and_delete)
    notify([inboxes.ada, inboxes.bob], "message", {"text": "kept"})
    inboxes.relay()
    [left] = Notification.objects.all()
    users = {inboxes.ada.pk: inboxes.ada, inboxes.bob.pk: inboxes.bob}
    assert entry(inboxes, users.pop(left.recipient_id))["text"] == "kept"
    [other] = users.values()
    assert entry(inboxes, other)["state"] == "deleted"


def test_what_somebody_changes_meanwhile_is_theirs_alone(inboxes: Inboxes) -> None:
    """Both wait in one row of the outbox with the mark of one of them."""
    with transaction.atomic(inboxes.alias):
        notify([inboxes.ada, inboxes.bob], "message", {"text": "x"})
        Notification.objects.filter(recipient=inboxes.ada).update(number=1)
        ids = Notification.objects.filter(recipient=inboxes.ada).values_list("pk", flat=True)
        assert mark(inboxes.ada, "read", ids=list(ids)) == 1
    inboxes.relay()
    assert inboxes.published(inboxes.ada)[0]["notifications"][0]["state"] == "read"
    assert entry(inboxes, inboxes.bob)["state"] == "unseen"


def test_an_entry_is_the_same_for_one_and_for_many(
    inboxes: Inboxes,
) -> None:
    notify(inboxes.ada, "message", {"text": "x"})
    inboxes.relay()
    [row] = Notification.objects.all()
    for row.state in State:
        assert json.loads(short_json(row)) == short_entry(row)

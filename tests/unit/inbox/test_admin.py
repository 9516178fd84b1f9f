"""Superusers can look at notifications in the admin, and nobody can change them there."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from notifications import notify
from notifications.errors import Unavailable
from notifications.hub.questions import Answers
from notifications.inbox import mark
from notifications.inbox.delivery.states import DeliveryState, Reason
from notifications.inbox.explanation import explain
from notifications.inbox.models import Delivery, Notification
from tests.unit.inbox.inboxes import Inboxes

LIST = "/admin/carillon_inbox/notification/"
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def shown(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


def test_superusers_search_by_recipient_and_filter_by_kind_and_state(inboxes: Inboxes) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    notify(inboxes.ada, "message", {"text": "<for ada>"}, actor=inboxes.bob)
    notify(inboxes.bob, "message", {"text": "for bob"})
    ada, bob = (Notification.objects.get(recipient=user) for user in (inboxes.ada, inboxes.bob))
    both = shown(client, LIST)
    assert str(ada.pk) in both
    assert str(bob.pk) in both
    for query, expected in (("?q=ada", True), ("?q=eve", False), ("?kind=message", True)):
        assert (str(ada.pk) in shown(client, LIST + query)) is expected
    assert str(ada.pk) not in shown(client, f"{LIST}?state__exact=2")
    assert str(ada.pk) not in shown(client, f"{LIST}?kind=community")
    detail = shown(client, f"{LIST}{ada.pk}/change/")
    assert "&lt;for ada&gt;" in detail
    assert 'name="_save"' not in detail
    assert "delete" not in detail
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}{ada.pk}/delete/", {"post": "yes"}).status_code == 403


def test_staff_do_not_read_the_notifications_of_others(inboxes: Inboxes) -> None:
    client = Client()
    client.force_login(User.objects.create_user("staff", is_staff=True))
    assert client.get(LIST).status_code == 403


def report(*streams: dict[str, Any], started: float = 0.0) -> dict[str, Any]:
    return {"process": "one:1", "started": started, "found": list(streams)}


def texts(notification: Notification, using: str) -> list[str]:
    steps = explain(notification, using=using)
    times = [step.at for step in steps if step.at]
    assert times == sorted(times)
    return [step.text for step in steps]


def test_what_became_of_a_notification_is_explained(
    inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    notify(inboxes.ada, "message", {"text": "a"})
    written = Notification.objects.get()
    at = written.created_at.timestamp()
    asked = []
    answers = Answers([report({"opened": at - 60, "ended": None, "reason": ""})], [])

    def ask(subject: str) -> Answers:
        asked.append(subject)
        return answers

    monkeypatch.setattr("notifications.inbox.explanation.ask", ask)
    assert texts(written, inboxes.alias) == [
        "A stream of the person's opened.",
        "Written, as message.",
        "Not published yet: it waits in the outbox, and no relay works on it.",
        "To be sent by no other channel.",
    ]
    assert asked == [f"user:{inboxes.ada.pk}"]
    inboxes.relay()
    mark(inboxes.ada, "read", ids=[written.pk])
    inboxes.relay()
    for state, reason in ((DeliveryState.SUPPRESSED, Reason.READ), (DeliveryState.FAILED, "x")):
        Delivery.objects.create(
            recipient=inboxes.ada,
            channel="email",
            notification=written,
            state=state,
            reason=reason,
            attempts=3,
            due_at=written.created_at,
            ended_at=datetime.now(UTC) + timedelta(hours=1),
        )
    answers = Answers(
        [
            report(
                {"opened": at - 90, "ended": at - 30, "reason": "kicked"},  # before
                {"opened": at + 3600, "ended": at + 3700, "reason": "client_left"},
                started=at + 10,
            )
        ],
        [],
    )
    found = texts(Notification.objects.get(), inboxes.alias)
    ended = datetime.fromtimestamp(at + 3700, UTC)
    assert found[:3] == ["Written, as message.", "Seen.", "Read."]
    assert set(found[3:6]) == {
        f"A stream of the person's opened, and closed {ended:%Y-%m-%d %H:%M:%S} UTC: client_left.",
        "email: suppressed (read).",
        "email: failed after 3 attempts (x).",
    }
    number = Notification.objects.get().number
    assert found[6:] == [
        f"Published, as number {number} of this database.",
        "No process remembers a stream of the person's that was open when it was written, but "
        "processes that have started since cannot know.",
    ]


def test_what_is_not_known_is_named(inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch) -> None:
    notify(inboxes.ada, "message", {"text": "a"})
    client = Client()
    client.force_login(User.objects.create_superuser("root"))

    def ask(subject: str) -> Answers:
        raise Unavailable("Redis cannot be reached.", outcome="not_sent")

    monkeypatch.setattr("notifications.inbox.explanation.ask", ask)
    path = f"{LIST}{Notification.objects.get().pk}/change/"
    assert "open then is not known: Redis cannot be reached." in shown(client, path)

"""What people do with notifications, and what the site takes back, reaches every page."""

import threading
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.utils import timezone

from notifications import Invalid, notify
from notifications.inbox import Action, kind, mark, withdraw
from notifications.inbox.changes import expire
from notifications.inbox.lists import counts, page
from notifications.inbox.models import Notification
from tests.unit.inbox.inboxes import Client, Inboxes

DEADLINE_SECONDS = 60.0
kind("alarm", text="Alarm", category="alarms")


def add(inboxes: Inboxes, *texts: str) -> None:
    for text in texts:
        notify(inboxes.ada, "message", {"text": text})
    inboxes.relay()


def test_each_action_changes_the_state_its_time_and_the_version_once(inboxes: Inboxes) -> None:
    add(inboxes, "a")
    [id] = inboxes.ids(inboxes.ada)
    client = Client()
    client.snapshot(inboxes.ada)
    for action, state, times in [
        ("seen", "seen", {"seen_at"}),
        ("read", "read", {"seen_at", "read_at"}),
        ("unread", "seen", {"seen_at"}),
        ("read", "read", {"seen_at", "read_at"}),
        ("archive", "archived", {"seen_at", "read_at", "archived_at"}),
    ]:
        version = Notification.objects.get().version
        assert mark(inboxes.ada, action, ids=[id]) == 1
        assert mark(inboxes.ada, action, ids=[id]) == 0
        assert inboxes.relay() == 1
        row = Notification.objects.get()
        assert (inboxes.states(inboxes.ada), row.version) == ([state], version + 1)
        all_times = ("seen_at", "read_at", "archived_at", "withdrawn_at", "expired_at")
        assert {name for name in all_times if getattr(row, name)} == times
        published = inboxes.published(inboxes.ada)[-1]
        assert published["notifications"] == [
            {"id": str(id), "number": row.number, "version": row.version, "state": state}
        ]
        client.take(published)
    assert client.shown == []
    assert page(inboxes.ada).notifications == []
    assert [each["state"] for each in page(inboxes.ada, state="archived").notifications] == [
        "archived"
    ]


def test_all_up_to_a_number_of_one_category_or_of_all(inboxes: Inboxes) -> None:
    add(inboxes, "a", "b")
    notify(inboxes.ada, "alarm")
    inboxes.relay()
    notify(inboxes.ada, "message", {"text": "not in the list yet"})
    newest = page(inboxes.ada).notifications[0]["number"]
    assert mark(inboxes.ada, "seen", up_to=newest, category="alarms") == 1
    assert mark(inboxes.ada, Action.SEEN, up_to=newest - 1) == 2
    inboxes.relay()
    assert inboxes.states(inboxes.ada) == ["unseen", "seen", "seen", "seen"]
    # An archived one stays archived, and so does what is newer than the place.
    assert mark(inboxes.ada, "archive", up_to=newest - 2) == 1
    assert mark(inboxes.ada, "read", up_to=2**62) == 3
    assert inboxes.states(inboxes.ada) == ["read", "read", "read", "archived"]


def test_one_that_is_being_replaced_is_not_marked_with_all(inboxes: Inboxes) -> None:
    notify(inboxes.ada, "message", {"text": "old"}, replaces="x")
    inboxes.relay()
    notify(inboxes.ada, "message", {"text": "new"}, replaces="x")
    assert mark(inboxes.ada, "seen", up_to=2**62) == 0


def test_nobody_changes_what_is_another_persons(inboxes: Inboxes) -> None:
    add(inboxes, "a")
    [id] = inboxes.ids(inboxes.ada)
    assert mark(inboxes.bob, "read", ids=[id]) == 0
    assert mark(inboxes.bob, "read", up_to=2**62) == 0
    assert inboxes.states(inboxes.ada) == ["unseen"]
    with pytest.raises(Invalid, match="Give ids, or up_to"):
        mark(inboxes.ada, "read")


def test_what_is_withdrawn_is_gone_everywhere_whether_it_was_published_or_not(
    inboxes: Inboxes,
) -> None:
    both = [inboxes.ada, inboxes.bob]
    notify(both, "message", {"text": "sale"}, group="sale", target=inboxes.bob)
    notify(both, "message", {"text": "kept"}, target=inboxes.ada)
    inboxes.relay()
    client = Client()
    client.snapshot(inboxes.ada)
    notify(both, "message", {"text": "more"}, group="sale", target=inboxes.bob)
    assert withdraw(inboxes.bob, kind="message", target=inboxes.bob) == 2
    assert withdraw(group="sale") == 2
    assert withdraw(group="sale") == 0
    inboxes.relay()
    for data in inboxes.published(inboxes.ada)[2:]:
        client.take(data)
    assert [text for _, _, text in client.shown] == ["kept"] == inboxes.texts(inboxes.ada)
    assert inboxes.texts(inboxes.bob) == ["kept"]
    assert client.counts == counts(inboxes.ada) == inboxes.published(inboxes.ada)[-1]["counts"]
    with pytest.raises(Invalid, match="Say which"):
        withdraw()


def test_what_expires_counts_until_its_event(inboxes: Inboxes) -> None:
    notify(inboxes.ada, "message", {"text": "soon"}, expires=timedelta(seconds=-1))
    notify(inboxes.ada, "message", {"text": "later"}, expires=timedelta(hours=1))
    inboxes.relay()
    assert counts(inboxes.ada)["unseen"] == 2
    assert expire(using=inboxes.alias) == 1
    assert expire(using=inboxes.alias) == 0
    inboxes.relay()
    assert inboxes.published(inboxes.ada)[-1]["counts"]["unseen"] == 1
    assert inboxes.states(inboxes.ada) == ["unseen", "expired"]
    assert expire(using=inboxes.alias, now=timezone.now() + timedelta(hours=2)) == 1


def test_changes_of_very_many_are_published_in_small_events(inboxes: Inboxes) -> None:
    rows = [
        Notification(
            recipient=inboxes.ada, kind="message", params={"text": "x"}, number=n, pending=False
        )
        for n in range(1_200)
    ]
    Notification.objects.bulk_create(rows)
    assert mark(inboxes.ada, "read", up_to=2**62) == 1_200
    assert inboxes.relay() == 3
    published = inboxes.published(inboxes.ada)
    assert max(len(data["notifications"]) for data in published) == 500
    assert sum(len(data["notifications"]) for data in published) == 1_200
    assert published[-1]["counts"] == {"unseen": 0, "unread": 0, "categories": {}}


@pytest.mark.parametrize("database", ["postgres", "maria"], indirect=True)
def test_events_follow_the_order_in_which_transactions_commit(inboxes: Inboxes) -> None:
    """The row that is written first is committed last, and comes last in every list."""
    written, committed = threading.Event(), threading.Event()

    def slow() -> None:
        try:
            with transaction.atomic(inboxes.alias):
                notify(inboxes.ada, "message", {"text": "written first"})
                written.set()
                committed.wait(DEADLINE_SECONDS)
        finally:
            connections[inboxes.alias].close()

    thread = threading.Thread(target=slow)
    thread.start()
    assert written.wait(DEADLINE_SECONDS)
    notify(inboxes.ada, "message", {"text": "committed first"})
    inboxes.relay()
    newest = page(inboxes.ada).notifications[0]["number"]
    committed.set()
    thread.join(DEADLINE_SECONDS)
    inboxes.relay()
    assert inboxes.texts(inboxes.ada) == ["written first", "committed first"]
    assert mark(inboxes.ada, "seen", up_to=newest) == 1
    assert inboxes.states(inboxes.ada) == ["unseen", "seen"]


@pytest.mark.parametrize("database", ["postgres", "maria"], indirect=True)
def test_an_open_transaction_delays_no_event_but_its_own(inboxes: Inboxes) -> None:
    notify(inboxes.ada, "message", {"text": "old"})
    locked, finished = threading.Event(), threading.Event()

    def slow() -> None:
        try:
            with transaction.atomic(inboxes.alias):
                list(Notification.objects.select_for_update())
                locked.set()
                finished.wait(DEADLINE_SECONDS)
        finally:
            connections[inboxes.alias].close()

    thread = threading.Thread(target=slow)
    thread.start()
    assert locked.wait(DEADLINE_SECONDS)
    notify(inboxes.bob, "message", {"text": "free"})
    relay = threading.Thread(target=inboxes.relay_in_thread)
    relay.start()
    while not inboxes.published(inboxes.bob):
        assert relay.is_alive()
    assert inboxes.published(inboxes.ada) == []
    finished.set()
    thread.join(DEADLINE_SECONDS)
    relay.join(DEADLINE_SECONDS)
    assert inboxes.texts(inboxes.ada) == ["old"]

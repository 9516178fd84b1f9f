"""`notify` writes rows and events together, for one person or ten thousand."""

import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from notifications import Invalid, anotify, notify
from notifications.inbox import Priority, kind
from notifications.inbox.models import Notification
from notifications.models import OutboxEvent
from tests.unit.inbox.inboxes import Inboxes

DEADLINE_SECONDS = 60.0
kind("order.paid", text="Order <b>{{ number }}</b> was paid by {{ actor }}.", category="orders")


def test_a_notification_is_a_row_and_an_event_with_its_text_and_the_counts(
    inboxes: Inboxes,
) -> None:
    price = {"number": "<7>", "price": Decimal("9.90")}
    notified = notify(
        inboxes.ada, "order.paid", price, actor=inboxes.bob, url="/orders/7/", group="orders"
    )
    assert notified == 1
    assert inboxes.texts(inboxes.ada) == []  # no list has it before it is published
    assert inboxes.relay() == 1
    [data] = inboxes.published(inboxes.ada)
    [shown] = data["notifications"]
    row = Notification.objects.get()
    assert shown == {
        "id": str(row.pk),
        "number": row.number,
        "version": 1,
        "state": "unseen",
        "kind": "order.paid",
        "category": "orders",
        "priority": "normal",
        "group": "orders",
        "url": "/orders/7/",
        "html": "Order <b>&lt;7&gt;</b> was paid by bob.",
        "text": "Order <7> was paid by bob.",
        "language": "en-us",
        "created": shown["created"],
    }
    of_orders = {"unseen": 1, "unread": 1}
    assert data["counts"] == {**of_orders, "categories": {"orders": of_orders}}
    assert inboxes.texts(inboxes.ada) == ["Order <7> was paid by bob."]
    assert inboxes.published(inboxes.bob) == []


def test_what_is_rolled_back_never_was(inboxes: Inboxes) -> None:
    with transaction.atomic(inboxes.alias):
        notify(inboxes.ada, "message", {"text": "never"})
        transaction.set_rollback(True, using=inboxes.alias)
    assert inboxes.relay() == 0
    assert not Notification.objects.exists()


def test_recipients_are_users_groups_querysets_and_keys_each_once(inboxes: Inboxes) -> None:
    group, _ = Group.objects.get_or_create(name="crew")
    gone = User.objects.create_user("gone", is_active=False)
    group.user_set.add(inboxes.ada, inboxes.bob, gone)
    more, _ = Group.objects.get_or_create(name="more")
    more.user_set.add(inboxes.ada, inboxes.bob)

    def recipients() -> list[str]:
        rows = Notification.objects.order_by("recipient__username")
        names = list(rows.values_list("recipient__username", flat=True))
        rows.all().delete()
        return names

    both = ["ada", "bob"]
    cases: list[tuple[Any, list[str]]] = [
        (inboxes.ada, ["ada"]),
        (inboxes.ada.pk, ["ada"]),
        (SimpleLazyObject(lambda: inboxes.ada), ["ada"]),  # as `request.user` is
        ([SimpleLazyObject(lambda: inboxes.ada), inboxes.ada], ["ada"]),
        ([inboxes.ada, inboxes.ada.pk, str(inboxes.ada.pk), inboxes.bob], both),
        (str(inboxes.ada.pk), ["ada"]),
        (group, both),
        ([group, inboxes.ada], both),
        (Group.objects.filter(name="crew"), both),
        (User.objects.filter(groups__name="crew"), [*both, "gone"]),
        (User.objects.order_by("-username")[:1], ["gone"]),
        (Group.objects.filter(name="crew")[:1], both),
        (User.objects.filter(groups__in=[group, more]).order_by("username")[:3], both),
        (
            User.objects.filter(pk=inboxes.ada.pk).union(User.objects.filter(pk=inboxes.bob.pk)),
            both,
        ),
        (User.objects.none(), []),
        ([], []),
    ]
    for given, expected in cases:
        assert notify(given, "message", {"text": "x"}) == len(expected)
        assert recipients() == expected, given


def test_ten_thousand_recipients_take_a_bounded_number_of_queries(inboxes: Inboxes) -> None:
    User.objects.bulk_create([User(username=f"u{n}") for n in range(2_500)])
    with CaptureQueriesContext(connections[inboxes.alias]) as queries:
        assert notify(User.objects.all(), "message", {"text": "x"}) == 2_502
    # For each thousand: one for the rows, two for the events, and what the database limits.
    # Django 5.2 writes at most 999 values at once into SQLite.
    assert len(queries) <= (75 if inboxes.alias == "sqlite" else 20)
    assert Notification.objects.count() == 2_502
    assert OutboxEvent.objects.count() <= 6
    assert inboxes.relay() == 2_502
    assert len(inboxes.published(inboxes.bob)) == 1
    assert set(Notification.objects.values_list("pending", flat=True)) == {False}


async def test_in_an_event_loop(inboxes: Inboxes) -> None:
    assert await anotify(inboxes.ada, "message", {"text": "x"}) == 1


def test_one_that_replaces_another_is_unseen_again(inboxes: Inboxes) -> None:
    both = [inboxes.ada, inboxes.bob]
    notify(both, "message", {"text": "1 like"}, replaces="likes")
    notify(inboxes.ada, "message", {"text": "other"})
    inboxes.relay()
    Notification.objects.update(state=2, read_at=timezone.now())
    notify(both, "message", {"text": "2 likes"}, replaces="likes")
    assert inboxes.texts(inboxes.ada) == ["other", "2 likes"]  # until the relay numbers it
    inboxes.relay()
    assert inboxes.texts(inboxes.ada) == ["2 likes", "other"]
    assert inboxes.states(inboxes.ada) == ["unseen", "read"]
    [shown] = inboxes.published(inboxes.ada)[-1]["notifications"]
    assert (shown["text"], shown["version"], shown["state"]) == ("2 likes", 2, "unseen")
    assert inboxes.texts(inboxes.bob) == ["2 likes"]


def test_many_replace_the_same_at_the_same_time(inboxes: Inboxes) -> None:
    """Each waits for the others; nobody fails, and there is one row."""
    start, faults = threading.Barrier(4), list[BaseException]()

    def run(number: int) -> None:
        try:
            start.wait(DEADLINE_SECONDS)
            for _ in range(5):
                with transaction.atomic(inboxes.alias):
                    notify(inboxes.ada, "message", {"text": str(number)}, replaces="one")
        except BaseException as error:  # noqa: BLE001 - told in the test's thread
            faults.append(error)
        finally:
            connections[inboxes.alias].close()

    notify(inboxes.ada, "message", {"text": "first"}, replaces="one")
    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    assert faults == []
    [row] = Notification.objects.all()
    assert row.version == 21
    inboxes.relay()
    assert len(inboxes.texts(inboxes.ada)) == 1


def test_expiry_and_priority(inboxes: Inboxes) -> None:
    now = timezone.now()
    notify(
        inboxes.ada, "message", {"text": "x"}, expires=timedelta(hours=1), priority=Priority.HIGH
    )
    row = Notification.objects.get()
    assert row.expires_at is not None
    assert timedelta(minutes=59) < row.expires_at - now < timedelta(minutes=61)
    assert row.priority == Priority.HIGH


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "order.payd"}, "Did you mean 'order.paid'"),
        ({"kind": "nothing.like"}, "No kind 'nothing.like' is declared. Declare it"),
        ({"params": {"x": object()}}, "cannot be written as JSON"),
        ({"params": {"x": "a" * 20_000}}, "at most 16384 bytes"),
        ({"url": "javascript:alert(1)"}, "url is a path"),
        ({"url": "/" + "a" * 2_000}, "at most 2000 characters"),
        ({"group": "a" * 191}, "at most 190 characters"),
        ({"replaces": "a" * 191}, "at most 190 characters"),
        ({"actor": "ada"}, "actor is a saved model"),
        ({"target": User()}, "target is a saved model"),
        ({"recipients": "ada"}, "'ada' is no primary key"),
        ({"recipients": AnonymousUser()}, "A recipient is a saved user"),
        ({"recipients": SimpleLazyObject(AnonymousUser)}, "A recipient is a saved user"),
        ({"recipients": [None]}, "A recipient is a saved user"),
        ({"recipients": User()}, "A recipient is a saved user"),
        ({"recipients": Notification()}, "A recipient is a saved user"),
        ({"recipients": Notification.objects.all()}, "Recipients are users or groups"),
    ],
)
def test_what_makes_no_notification_is_refused_and_keeps_nothing(
    inboxes: Inboxes, arguments: dict[str, object], message: str
) -> None:
    given = {"recipients": inboxes.ada, "kind": "message", "params": {"text": "x"}, **arguments}
    with pytest.raises(Invalid, match=message):
        notify(**given)  # type: ignore[arg-type]
    assert not Notification.objects.exists()
    assert inboxes.relay() == 0


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_database_without_a_relay_is_refused(inboxes: Inboxes, settings: object) -> None:
    settings.CARILLON = {"LOG": "memory"}  # type: ignore[attr-defined]
    with pytest.raises(ImproperlyConfigured, match="OUTBOX_DATABASES"):
        notify(inboxes.ada, "message", {"text": "x"})

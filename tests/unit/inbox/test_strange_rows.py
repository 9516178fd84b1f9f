"""Rows that no longer fit the site, and people who do many things at once, stop nobody's inbox."""

import threading
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from pytest_django import Settings as DjangoSettings

from notifications import notify
from notifications.conf import namespace as namespaces
from notifications.inbox import changes, kind, kinds, mark, withdraw
from notifications.inbox.models import Notification
from notifications.models import OutboxEvent
from tests.unit.inbox.inboxes import Inboxes

DEADLINE_SECONDS = 60.0
kind("seen.about", text="{{ actor|default:'Somebody' }} saw {{ target }}")
kind("half.of.a.character", text="{{ half }}")(lambda _: {"half": "\ud83d"})


def send(inboxes: Inboxes) -> Notification:
    notify(inboxes.ada, "seen.about", actor=inboxes.bob, target=inboxes.bob)
    return Notification.objects.get()


def shown_twice(inboxes: Inboxes) -> list[str]:
    """The texts in an event and in a list, with one of a sound row beside it."""
    notify(inboxes.ada, "message", {"text": "sound"})
    assert inboxes.relay() == 2
    published = inboxes.published(inboxes.ada)
    texts = [entry["text"] for data in published for entry in data["notifications"]]
    assert inboxes.texts(inboxes.ada) == texts[::-1]
    assert texts[1] == "sound"
    return texts[:1]


def test_an_object_that_was_deleted_is_missing_and_no_word(inboxes: Inboxes) -> None:
    eve = User.objects.create_user("eve")
    notify(inboxes.ada, "seen.about", actor=eve, target=eve)
    eve.delete()
    assert shown_twice(inboxes) == ["Somebody saw"]


def test_a_model_that_is_gone_is_a_missing_object(inboxes: Inboxes) -> None:
    gone, _ = ContentType.objects.get_or_create(app_label="shop", model="gone")
    send(inboxes)
    Notification.objects.update(target_type=gone)
    assert shown_twice(inboxes) == ["bob saw"]


@pytest.mark.parametrize("key", ["not-a-number", "9" * 40])
def test_a_key_of_another_type_is_a_missing_object(inboxes: Inboxes, key: str) -> None:
    send(inboxes)
    Notification.objects.update(target_id=key)
    assert shown_twice(inboxes) == ["bob saw"]


def test_a_kind_that_is_gone_has_no_text(inboxes: Inboxes) -> None:
    kind("short.lived", text="x")
    notify(inboxes.ada, "short.lived")
    kinds._kinds.pop("short.lived")
    assert shown_twice(inboxes) == [""]


def test_a_text_that_utf8_cannot_carry_is_none(inboxes: Inboxes) -> None:
    notify(inboxes.ada, "half.of.a.character")
    assert shown_twice(inboxes) == [""]


@pytest.mark.parametrize("database", ["postgres", "maria"], indirect=True)
def test_what_people_do_at_the_same_time_locks_nobody_out(inboxes: Inboxes) -> None:
    for number in range(40):
        notify([inboxes.ada, inboxes.bob], "message", {"text": str(number)}, group="all")
    inboxes.relay()
    ids = inboxes.ids(inboxes.ada)
    start, faults = threading.Barrier(6), list[BaseException]()

    def repeat(act: Callable[[int], object]) -> None:
        try:
            start.wait(DEADLINE_SECONDS)
            for number in range(15):
                act(number)
        except BaseException as error:  # noqa: BLE001 - told in the test's thread
            faults.append(error)
        finally:
            connections[inboxes.alias].close()

    acts: list[Callable[[int], object]] = [
        lambda _: mark(inboxes.ada, "read", up_to=2**62),
        lambda _: mark(inboxes.ada, "unread", up_to=2**62),
        lambda number: mark(inboxes.ada, "read", ids=ids[number:]),
        lambda number: mark(inboxes.ada, "archive", ids=ids[-number - 1 :]),
        lambda number: notify(inboxes.ada, "message", {"text": str(number)}, replaces="one"),
        lambda number: withdraw(inboxes.ada, replaces="one"),
    ]
    threads = [threading.Thread(target=repeat, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    assert faults == []


def test_ids_of_more_than_a_batch_are_all_meant(
    inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "BATCH_ROWS", 2)
    for text in "abcde":
        notify(inboxes.ada, "message", {"text": text})
    inboxes.relay()
    assert mark(inboxes.ada, "read", ids=inboxes.ids(inboxes.ada)) == 5


def test_a_tenant_that_is_gone_delays_nobody(inboxes: Inboxes, settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "NAMESPACE": "tests.harness.tenancy.ContextTenancy"}
    with namespaces.enter("acme"):
        notify(inboxes.ada, "message", {"text": "of a tenant"})
    event = OutboxEvent.objects.using(inboxes.alias).get()
    event.topics = event.topics.replace("acme", "deleted")
    event.save()
    with namespaces.enter("acme"):
        notify(inboxes.bob, "message", {"text": "sound"})
    assert inboxes.relay() == 2
    with namespaces.enter("acme"):
        assert inboxes.texts(inboxes.bob) == ["sound"]

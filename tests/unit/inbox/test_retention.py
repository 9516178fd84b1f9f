"""Old notifications end, nobody's page keeps showing them, and one person's can be erased."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any
from unittest.mock import ANY

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.utils import timezone
from pytest_django import Settings as DjangoSettings

from notifications import notify
from notifications.inbox import State, category, kind, kinds, locking, mark, withdraw
from notifications.inbox.models import Device, Notification
from notifications.inbox.retention import tidy
from notifications.models import OutboxEvent
from tests.unit.inbox.inboxes import Client, Inboxes

DEADLINE_SECONDS = 60.0
DAY = timedelta(days=1)


@pytest.fixture
def short_lived() -> Iterator[str]:
    """A kind whose category is kept for two days."""
    kind("trace", text="Trace {{ n }}", category="traces")
    category("traces", keep=2 * DAY)
    yield "trace"
    kinds._categories.pop("traces")


def carillon(*arguments: str) -> str:
    output = StringIO()
    call_command("carillon", *arguments, stdout=output)
    return output.getvalue().strip()


def add(user: User, text: str, *, age: timedelta = timedelta(), **fields: Any) -> Notification:
    """A notification that the relay numbered long ago."""
    return Notification.objects.create(
        recipient=user,
        kind=fields.pop("kind", "message"),
        params={"text": text},
        number=Notification.objects.count() + 1,
        pending=False,
        created_at=timezone.now() - age,
        **fields,
    )


def kept(inboxes: Inboxes) -> list[Any]:
    rows = Notification.objects.using(inboxes.alias).order_by("number")
    return [row.params.get("text") for row in rows]


def test_notifications_end_by_age_category_and_state(inboxes: Inboxes, short_lived: str) -> None:
    archived = {"state": State.ARCHIVED, "archived_at": timezone.now() - 31 * DAY}
    add(inboxes.ada, "old", age=91 * DAY)
    add(inboxes.ada, "young", age=89 * DAY)
    add(inboxes.ada, "old trace", age=3 * DAY, category="traces")
    add(inboxes.ada, "young trace", age=1 * DAY, category="traces")
    add(inboxes.ada, "archived long ago", age=60 * DAY, **archived)
    archived["archived_at"] = timezone.now() - DAY
    add(inboxes.ada, "archived yesterday", age=60 * DAY, **archived)
    for state, column in [(State.WITHDRAWN, "withdrawn_at"), (State.EXPIRED, "expired_at")]:
        ended = timezone.now() - 31 * DAY
        add(inboxes.ada, column, age=60 * DAY, state=state, **{column: ended})
    assert carillon("tidy") == "Expired: 0. Deleted: 5. Published again: 0."
    assert kept(inboxes) == ["young", "young trace", "archived yesterday"]
    assert carillon("tidy") == "Expired: 0. Deleted: 0. Published again: 0."


def test_a_category_may_be_kept_for_longer_than_the_others(inboxes: Inboxes) -> None:
    category("bills", keep=3650 * DAY)
    try:
        add(inboxes.ada, "bill", age=400 * DAY, category="bills")
        add(inboxes.ada, "other", age=400 * DAY)
        assert tidy(inboxes.alias).deleted == 1
        assert kept(inboxes) == ["bill"]
    finally:
        kinds._categories.pop("bills")


def test_what_is_deleted_leaves_open_pages_too(inboxes: Inboxes) -> None:
    add(inboxes.ada, "old", age=91 * DAY)
    add(inboxes.ada, "young")
    add(inboxes.ada, "hidden", age=91 * DAY, state=State.ARCHIVED, archived_at=timezone.now())
    client = Client()
    client.snapshot(inboxes.ada)
    assert len(client.rows) == 2
    assert tidy(inboxes.alias).deleted == 2
    assert inboxes.relay() == 1
    [data] = inboxes.published(inboxes.ada)
    assert [entry["state"] for entry in data["notifications"]] == ["deleted"]
    client.take(data)
    assert [text for _, _, text in client.shown] == ["young"]
    assert client.counts["unseen"] == 1


def test_what_expires_is_an_event_and_can_be_done_alone(inboxes: Inboxes) -> None:
    notify(inboxes.ada, "message", {"text": "x"}, expires=timedelta(seconds=-1))
    add(inboxes.ada, "old", age=91 * DAY)
    inboxes.relay()
    assert carillon("tidy", "--expire-only") == "Expired: 1."
    inboxes.relay()
    assert inboxes.published(inboxes.ada)[-1]["notifications"][0]["state"] == "expired"
    assert len(kept(inboxes)) == 2


def test_more_than_a_batch_ends_in_transactions_of_their_own(
    inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "BATCH_ROWS", 10)
    for number in range(25):
        add(inboxes.ada, str(number), age=91 * DAY)
    assert tidy(inboxes.alias).deleted == 25
    # Each batch has its event: had all been one transaction, this would be one.
    assert OutboxEvent.objects.using(inboxes.alias).count() == 3
    assert inboxes.relay() == 3


@pytest.mark.parametrize("database", ["postgres", "maria"], indirect=True)
def test_nothing_waits_for_what_somebody_is_changing(inboxes: Inboxes) -> None:
    add(inboxes.ada, "being read", age=91 * DAY)
    add(inboxes.bob, "free", age=91 * DAY)
    expires = timezone.now() - DAY
    add(inboxes.bob, "due", expires_at=expires)
    held = add(inboxes.ada, "due and being read", expires_at=expires)
    locked, finished = threading.Event(), threading.Event()

    def read() -> None:
        try:
            with transaction.atomic(inboxes.alias):
                mark(inboxes.ada, "read", up_to=held.number)
                locked.set()
                finished.wait(DEADLINE_SECONDS)
        finally:
            connections[inboxes.alias].close()

    thread = threading.Thread(target=read)
    thread.start()
    assert locked.wait(DEADLINE_SECONDS)
    try:
        done = tidy(inboxes.alias)
    finally:
        finished.set()
        thread.join(DEADLINE_SECONDS)
    assert (done.expired, done.deleted) == (1, 1)
    done = tidy(inboxes.alias)
    assert (done.expired, done.deleted) == (1, 1)


def test_twice_at_once_is_as_once(inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "BATCH_ROWS", 10)
    for number in range(60):
        add(inboxes.ada, str(number), age=91 * DAY)
    start, deleted, faults = threading.Barrier(2), list[int](), list[BaseException]()

    def run() -> None:
        try:
            start.wait(DEADLINE_SECONDS)
            deleted.append(tidy(inboxes.alias).deleted)
        except BaseException as error:  # noqa: BLE001 - told in the test's thread
            faults.append(error)
        finally:
            connections[inboxes.alias].close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    assert faults == []
    # What both left out, because the other had it locked for a moment, is for the next time.
    assert sum(deleted) + tidy(inboxes.alias).deleted == 60
    assert sum(deleted) > 0
    assert kept(inboxes) == []


def test_what_was_never_numbered_is_published_again_once_no_event_waits(inboxes: Inboxes) -> None:
    notify([inboxes.ada, inboxes.bob], "message", {"text": "lost"})
    notify(inboxes.ada, "message", {"text": "also lost"})
    Notification.objects.update(created_at=timezone.now() - timedelta(minutes=11))
    OutboxEvent.objects.using(inboxes.alias).all().delete()
    notify(inboxes.ada, "message", {"text": "waits"})  # no reason to wait: it is new
    assert tidy(inboxes.alias).published_again == 3
    assert inboxes.relay() == 4
    assert sorted(inboxes.texts(inboxes.ada)) == ["also lost", "lost", "waits"]
    assert inboxes.texts(inboxes.bob) == ["lost"]
    assert tidy(inboxes.alias).published_again == 0


def test_a_relay_that_is_late_gets_no_event_twice(inboxes: Inboxes) -> None:
    notify(inboxes.ada, "message", {"text": "late"})
    long_ago = timezone.now() - timedelta(minutes=11)
    Notification.objects.update(created_at=long_ago)
    OutboxEvent.objects.using(inboxes.alias).update(created_at=long_ago)
    assert tidy(inboxes.alias).published_again == 0
    assert inboxes.relay() == 1


# One person


def test_an_export_has_every_column_and_the_text(
    inboxes: Inboxes, settings: DjangoSettings
) -> None:
    notify(inboxes.ada, "message", {"text": "<first>"}, actor=inboxes.bob, url="/1/")
    notify(inboxes.bob, "message", {"text": "another person's"})
    inboxes.relay()
    mark(inboxes.ada, "read", up_to=2**62)
    notify(inboxes.ada, "message", {"text": "waits"})
    Device.objects.create(recipient=inboxes.ada, endpoint="https://push.example/1")
    chosen, first, second = map(json.loads, carillon("inbox", "export", "ada").splitlines())
    assert chosen["preferences"]["digest"] == "off"
    assert chosen["devices"] == [{"push_service": "push.example", "confirmed_at": ANY}]
    assert first.keys() >= {"id", "number", "created_at", "read_at", "group", "replaces", "params"}
    assert first["text"] == "<first>"
    assert first["html"] == "&lt;first&gt;"
    assert (first["state"], first["actor_type"], first["actor_id"]) == (
        "read",
        "auth.user",
        str(inboxes.bob.pk),
    )
    assert (second["text"], second["number"], second["target_type"]) == ("waits", None, None)


def test_erasing_deletes_all_of_one_person_also_on_open_pages(inboxes: Inboxes) -> None:
    for text in ("a", "b"):
        notify([inboxes.ada, inboxes.bob], "message", {"text": text})
    notify(inboxes.bob, "message", {"text": "by ada"}, actor=inboxes.ada)
    inboxes.relay()
    withdraw(inboxes.ada, kind="message")
    notify(inboxes.ada, "message", {"text": "not published yet"})
    Device.objects.create(recipient=inboxes.ada, endpoint="https://push.example/1")
    printed = carillon("inbox", "erase", "ada").splitlines()
    assert not Device.objects.exists()
    assert printed[:2] == [
        "Erased: 3.",
        "1 of other people have this user as their actor: --as-actor erases them too.",
    ]
    assert "24 hours" in printed[2]
    inboxes.relay()
    assert kept(inboxes) == ["a", "b", "by ada"]
    assert inboxes.published(inboxes.ada)[-1]["counts"]["unread"] == 0
    printed = carillon("inbox", "erase", "ada", "--as-actor").splitlines()
    assert printed[:2] == ["Erased: 0.", "Erased, of other people: 1."]
    inboxes.relay()
    assert kept(inboxes) == ["a", "b"]
    assert inboxes.published(inboxes.bob)[-1]["notifications"][0]["state"] == "deleted"


def test_commands_that_cannot_be_done_are_explained(inboxes: Inboxes) -> None:
    with pytest.raises(CommandError, match="There is no user called 'nobody'"):
        carillon("inbox", "export", "nobody")
    with pytest.raises(CommandError, match="without 'other'"):
        carillon("tidy", "--database", "other")
    assert carillon("tidy", "--database", inboxes.alias)


def test_commands_act_for_one_tenant(inboxes: Inboxes, settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "NAMESPACE": "tests.harness.tenancy.ContextTenancy"}
    for text in ("old", "erased"):
        add(inboxes.ada, text, age=91 * DAY if text == "old" else DAY)
    carillon("--namespace", "acme", "tidy")
    carillon("--namespace", "acme", "inbox", "erase", "ada")
    events = OutboxEvent.objects.using(inboxes.alias)
    assert [event.topics.partition("\x1f")[0] for event in events] == ["acme", "acme"]

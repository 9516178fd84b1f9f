"""The numbers that the relay gives to notifications, on each database."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

import pytest
from django.db import connections, transaction

from notifications import notify
from notifications.inbox.models import LastNumber, Notification
from notifications.inbox.numbering import give_numbers
from notifications.models import OutboxEvent
from tests.unit.inbox.inboxes import Inboxes

DEADLINE_SECONDS = 30.0


def written(inboxes: Inboxes, count: int) -> list[str]:
    """The ids of so many new notifications of one person."""
    earlier = set(Notification.objects.values_list("pk", flat=True))
    for _ in range(count):
        notify(inboxes.ada, "message", {"text": "x"})
    new = Notification.objects.exclude(pk__in=earlier).order_by("pk")
    return [str(id) for id in new.values_list("pk", flat=True)]


def numbers(ids: Sequence[str]) -> list[int]:
    """Those that the rows have; 0 for none."""
    stored = dict(Notification.objects.filter(pk__in=ids).values_list("pk", "number"))
    return [stored[UUID(id)] or 0 for id in ids]


def test_rows_are_numbered_in_the_order_given_and_once(inboxes: Inboxes) -> None:
    ids = written(inboxes, 5)[::-1]
    numbered = give_numbers(ids, inboxes.alias)
    given = numbers(ids)
    assert given == sorted(given) == [numbered[id].number for id in ids]
    assert len(set(given)) == 5
    assert {(row.version, row.state) for row in numbered.values()} == {(1, 0)}
    assert not Notification.objects.filter(pending=True).exists()
    assert give_numbers(ids, inboxes.alias) == {}
    assert numbers(ids) == given


def test_later_numbers_are_greater(inboxes: Inboxes) -> None:
    LastNumber.objects.all().delete()
    first = written(inboxes, 3)
    give_numbers(first, inboxes.alias)
    second = written(inboxes, 3)
    give_numbers(second, inboxes.alias)
    assert max(numbers(first)) < min(numbers(second))
    assert max(numbers(second)) <= LastNumber.objects.get().number


def test_one_that_is_gone_or_never_was_takes_no_other_along(inboxes: Inboxes) -> None:
    gone, kept = written(inboxes, 2)
    Notification.objects.filter(pk=gone).delete()
    assert give_numbers([gone], inboxes.alias) == {}
    assert give_numbers([gone, kept], inboxes.alias).keys() == {kept}


def in_thread(run: Callable[[], object], alias: str) -> threading.Thread:
    def to_its_end() -> None:
        try:
            run()
        finally:
            connections[alias].close()

    thread = threading.Thread(target=to_its_end)
    thread.start()
    return thread


@pytest.mark.parametrize("database", ["postgres", "maria"], indirect=True)
def test_a_row_that_somebody_has_locked_waits_alone(inboxes: Inboxes) -> None:
    ids = written(inboxes, 3)
    locked, numbered = threading.Event(), threading.Event()

    def lock() -> None:
        with transaction.atomic(inboxes.alias):
            Notification.objects.filter(pk=ids[1]).update(url="/x/")
            locked.set()
            assert numbered.wait(DEADLINE_SECONDS)

    thread = in_thread(lock, inboxes.alias)
    try:
        assert locked.wait(DEADLINE_SECONDS)
        assert give_numbers(ids, inboxes.alias).keys() == {ids[0], ids[2]}
    finally:
        numbered.set()
        thread.join(DEADLINE_SECONDS)
    assert give_numbers(ids, inboxes.alias).keys() == {ids[1]}
    assert numbers(ids)[1] == max(numbers(ids))
    assert Notification.objects.get(pk=ids[1]).url == "/x/"


def test_two_relays_at_once_give_no_number_twice(inboxes: Inboxes) -> None:
    """The first numbers of all, for which there is no last one yet."""
    LastNumber.objects.all().delete()
    ids = written(inboxes, 12)
    start = threading.Barrier(2)

    def give(some: Sequence[str]) -> None:
        start.wait(DEADLINE_SECONDS)
        for id in some:
            assert give_numbers([id], inboxes.alias).keys() == {id}

    threads = [in_thread(partial(give, ids[n::2]), inboxes.alias) for n in range(2)]
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    given = numbers(ids)
    assert 0 not in given
    assert len(set(given)) == 12


@pytest.mark.parametrize("id", ["", "x", "0" * 32, "{" + "0" * 36 + "}", 5])
def test_what_is_no_id_delays_nobody(inboxes: Inboxes, id: object) -> None:
    """Somebody has changed the row."""
    notify(inboxes.ada, "message", {"text": "x"})
    [row] = OutboxEvent.objects.all()
    [known] = Notification.objects.values_list("pk", flat=True)
    assert str(known).encode() in bytes(row.data)
    row.data = bytes(row.data).replace(f'"{known}"'.encode(), b'"%s"' % str(id).encode())
    if isinstance(id, int):
        row.data = row.data.replace(b'"5"', b"5")
    row.save()
    notify(inboxes.bob, "message", {"text": "sound"})
    assert inboxes.relay() == 2
    [data] = inboxes.published(inboxes.ada)
    assert data["refresh"] is True

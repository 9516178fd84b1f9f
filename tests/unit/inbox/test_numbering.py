"""The numbers that the relay gives to notifications, on each database."""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.db.models import F

from notifications import notify
from notifications.inbox.models import LastNumber, Notification
from notifications.inbox.numbering import Numbered, give_numbers
from notifications.inbox.states import State
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
    assert not LastNumber.objects.exists()  # a relay that only waits writes nothing
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


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_what_changes_while_the_relay_waits_is_numbered_as_it_is(inboxes: Inboxes) -> None:
    """The relay's statement has begun, and waits for another relay, while rows change."""
    give_numbers(written(inboxes, 1), inboxes.alias)
    ids = written(inboxes, 6)
    numbered = dict[str, Numbered]()
    held, locked, changed, ended = (threading.Event() for _ in range(4))

    def hold_last_number() -> None:
        with transaction.atomic(inboxes.alias):
            LastNumber.objects.select_for_update().get()
            held.set()
            assert changed.wait(DEADLINE_SECONDS)

    def lock_one() -> None:
        with transaction.atomic(inboxes.alias):
            Notification.objects.filter(pk=ids[4]).update(url="/y/")
            locked.set()
            assert ended.wait(DEADLINE_SECONDS)

    def relay() -> None:
        # Of a plan with one of these, all rows may be locked before it waits, and of a plan for a
        # table that was empty when PostgreSQL last counted its rows.
        with connections[inboxes.alias].cursor() as cursor:
            cursor.execute(f"ANALYZE {Notification._meta.db_table}")
            for way in ("hashjoin", "mergejoin", "seqscan"):
                cursor.execute(f"SET enable_{way} = off")
        numbered.update(give_numbers(ids, inboxes.alias))

    threads = [in_thread(hold_last_number, inboxes.alias)]
    try:
        assert held.wait(DEADLINE_SECONDS)
        threads.append(relaying := in_thread(relay, inboxes.alias))
        wait_for_lock(inboxes.alias)
        rows = {n: Notification.objects.filter(pk=id) for n, id in enumerate(ids)}
        rows[1].update(version=F("version") + 1, state=State.READ)
        rows[2].delete()
        rows[3].update(pending=False, number=999)
        threads.append(in_thread(lock_one, inboxes.alias))
        assert locked.wait(DEADLINE_SECONDS)
        changed.set()
        relaying.join(DEADLINE_SECONDS)
    finally:
        changed.set()
        ended.set()
        for thread in threads:
            thread.join(DEADLINE_SECONDS)
    assert [ids.index(id) for id in numbered] == [0, 1, 5]
    for id, given in numbered.items():
        row = Notification.objects.get(pk=id)
        assert not row.pending
        assert (row.version, row.state, row.number) == (given.version, given.state, given.number)
    assert Notification.objects.get(pk=ids[3]).number == 999
    assert Notification.objects.get(pk=ids[4]).pending


def wait_for_lock(alias: str) -> None:
    """Wait until the statement that gives numbers waits for another transaction."""
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
        "AND datname = current_database() AND query LIKE '%WITH free%'"
    )
    deadline = time.monotonic() + DEADLINE_SECONDS
    with connections[alias].cursor() as cursor:
        cursor.execute(waits)
        while cursor.fetchone() == (0,):
            assert time.monotonic() < deadline
            cursor.execute(waits)


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_the_statement_looks_for_each_row_in_the_index(inboxes: Inboxes) -> None:
    """PostgreSQL would else read all of a table of this size, for each batch twice."""
    User.objects.bulk_create([User(username=f"u{n}") for n in range(5000)])
    notify(User.objects.all(), "message", {"text": "x"})
    ids = [str(id) for id in Notification.objects.values_list("pk", flat=True)[:1000]]
    plans = list[str]()

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        execute(f"EXPLAIN {sql}", params, many, context)
        cursor = context["cursor"]
        plans.append("\n".join(line for (line,) in cursor.fetchall()))
        return execute(sql, params, many, context)

    connection = connections[inboxes.alias]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE carillon_inbox_notification")
    with connection.execute_wrapper(explain):
        assert len(give_numbers(ids, inboxes.alias)) == 1000
    [plan] = plans
    assert plan.count("Index Scan using carillon_inbox_notification_pkey") == 2
    assert "Seq Scan on carillon_inbox_notification" not in plan


def change_id(id: str) -> OutboxEvent:
    """Of the only event that waits, as somebody may have changed the row."""
    [row] = OutboxEvent.objects.all()
    [known] = Notification.objects.values_list("pk", flat=True)
    assert str(known).encode() in bytes(row.data)
    row.data = bytes(row.data).replace(f'"{known}"'.encode(), id.encode())
    row.save()
    return row


@pytest.mark.parametrize("id", ['""', '"x"', '"{0}"', "5", "null", '["x"]'])
def test_what_is_no_id_delays_nobody(inboxes: Inboxes, id: str) -> None:
    notify(inboxes.ada, "message", {"text": "x"})
    change_id(id)
    notify(inboxes.bob, "message", {"text": "sound"})
    assert inboxes.relay() == 2
    [data] = inboxes.published(inboxes.ada)
    assert data["refresh"] is True
    assert inboxes.texts(inboxes.bob) == ["sound"]


def test_an_event_of_an_earlier_version_has_only_the_digits_of_its_ids(inboxes: Inboxes) -> None:
    """While a site is updated, processes of the version before still write."""
    notify(inboxes.ada, "message", {"text": "x"})
    [known] = Notification.objects.values_list("pk", flat=True)
    change_id(f'"{known.hex}"')
    assert inboxes.relay() == 1
    assert inboxes.texts(inboxes.ada) == ["x"]
    [data] = inboxes.published(inboxes.ada)
    assert data["notifications"][0]["id"] == str(known)

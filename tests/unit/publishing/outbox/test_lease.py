"""One relay for each database, by the clock of that database."""

from datetime import timedelta

import pytest
from django.db.models import F

from notifications import publish_outbox
from notifications.models import OutboxLease
from notifications.publishing.outbox.lease import Lease
from tests.unit.publishing.outbox.conftest import Database
from tests.unit.publishing.outbox.reading import Published, relaying, wait_until


def later(database: Database, seconds: float) -> None:
    """The clock of the database goes on by so much."""
    ours = OutboxLease.objects.using(database.alias)
    ours.update(expires_at=F("expires_at") - timedelta(seconds=seconds))


def test_one_has_it_until_it_runs_out(database: Database) -> None:
    one, other = (Lease(database.alias, seconds=60) for _ in range(2))
    assert one.take()
    assert one.held
    assert not other.take()
    assert not other.held
    holder, left = other.left()
    assert one.is_of(holder)
    assert not other.is_of(holder)
    assert 50 < left <= 60
    later(database, 59)
    assert not other.take()
    assert one.take()
    later(database, 61)
    assert other.left()[1] < 0
    assert other.take()
    assert not one.take()
    assert not one.held
    assert other.take()


def test_what_ran_out_and_nobody_took_is_renewed(database: Database) -> None:
    one = Lease(database.alias, seconds=60)
    assert one.take()
    later(database, 3600)
    assert one.take()
    assert one.left()[1] > 50


def test_a_lease_is_due_and_over_by_its_holder_s_own_clock(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("notifications.publishing.outbox.lease.time.monotonic", lambda: now)
    lease = Lease(database.alias, seconds=60)
    assert (lease.due, lease.held) == (True, False)
    lease.take()
    assert (lease.due, lease.held) == (False, True)
    now += 20
    assert (lease.due, lease.held) == (True, True)
    now += 40
    assert (lease.due, lease.held) == (True, False)


def test_what_is_released_is_there_at_once_and_only_its_holder_releases_it(
    database: Database,
) -> None:
    one, other = (Lease(database.alias, seconds=60) for _ in range(2))
    assert one.left() == ("", 0.0)
    one.take()
    other.release()
    assert not other.take()
    one.release()
    assert one.left()[0] == ""
    assert not one.held
    assert other.take()


def test_there_is_one_row_whoever_comes_first(database: Database) -> None:
    leases = [Lease(database.alias, seconds=60) for _ in range(3)]
    assert [lease.take() for lease in leases] == [True, False, False]
    assert OutboxLease.objects.using(database.alias).count() == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("days", "said"), [(29, False), (31, True)])
def test_after_too_long_without_any_relay_it_says_that_events_may_come_twice(
    database: Database,
    published: Published,
    caplog: pytest.LogCaptureFixture,
    days: int,
    said: bool,
) -> None:
    Lease(database.alias, seconds=60).take()
    later(database, days * 24 * 60 * 60)
    publish_outbox("t", "x", using=database.alias)
    with relaying(database.alias):
        published.until(1)
        wait_until(lambda: "relay.active" in caplog.text)
    assert ("relay.may_repeat" in caplog.text) is said


def test_a_relay_that_stands_by_begins_when_the_other_ends(
    database: Database, published: Published
) -> None:
    with relaying(database.alias):
        wait_until(lambda: database.relayed)
        with relaying(database.alias) as second:
            publish_outbox("t", "0", using=database.alias)
            published.until(1)
            wait_until(lambda: not database.waiting)
            assert not second.relays[0]._active
    assert not database.relayed

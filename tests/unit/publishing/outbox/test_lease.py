"""The lease: one active relay for each database, by the clock of that database."""

from datetime import timedelta

import pytest
from django.db.models import F
from pytest_django import Settings as DjangoSettings

from notifications import publish_outbox
from notifications.models import OutboxLease
from notifications.publishing.outbox.lease import Lease
from tests.harness.databases import Database
from tests.unit.publishing.outbox.reading import Published, relaying, wait_until


def let_pass(database: Database, seconds: float) -> None:
    """Make the lease as old as it would be after so many seconds."""
    leases = OutboxLease.objects.using(database.alias)
    leases.update(expires_at=F("expires_at") - timedelta(seconds=seconds))


def test_one_relay_has_the_lease_until_it_expires(database: Database) -> None:
    first, second = (Lease(database.alias, seconds=60) for _ in range(2))
    assert first.take()
    assert first.held
    assert not second.take()
    assert not second.held
    holder, remaining = second.read()
    assert first.is_of(holder)
    assert not second.is_of(holder)
    assert 50 < remaining <= 60
    let_pass(database, 59)
    assert not second.take()
    assert first.take()
    let_pass(database, 61)
    assert second.read()[1] < 0
    assert second.take()
    assert not first.take()
    assert not first.held
    assert second.take()


def test_an_expired_lease_that_no_relay_took_is_renewed(database: Database) -> None:
    first = Lease(database.alias, seconds=60)
    assert first.take()
    let_pass(database, 3600)
    assert first.take()
    assert first.read()[1] > 50


def test_a_lease_is_due_and_expires_by_its_holders_own_clock(database: Database) -> None:
    now = 1000.0
    lease = Lease(database.alias, seconds=60, clock=lambda: now)
    assert (lease.due, lease.held) == (True, False)
    lease.take()
    assert (lease.due, lease.held) == (False, True)
    now += 20
    assert (lease.due, lease.held) == (True, True)
    now += 40
    assert (lease.due, lease.held) == (True, False)


def test_a_released_lease_is_free_at_once_and_only_its_holder_releases_it(
    database: Database,
) -> None:
    first, second = (Lease(database.alias, seconds=60) for _ in range(2))
    assert first.read() == ("", 0.0)
    first.take()
    second.release()
    assert not second.take()
    first.release()
    assert first.read()[0] == ""
    assert not first.held
    assert second.take()


def test_only_the_first_of_several_relays_takes_the_lease(database: Database) -> None:
    leases = [Lease(database.alias, seconds=60) for _ in range(3)]
    assert [lease.take() for lease in leases] == [True, False, False]
    assert OutboxLease.objects.using(database.alias).count() == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("days", "is_reported"), [(29, False), (31, True)])
def test_after_too_long_without_a_relay_possible_repetitions_are_reported(
    database: Database,
    published: Published,
    caplog: pytest.LogCaptureFixture,
    days: int,
    is_reported: bool,
) -> None:
    Lease(database.alias, seconds=60).take()
    let_pass(database, days * 24 * 60 * 60)
    publish_outbox("t", "x", using=database.alias)
    with relaying(database.alias):
        published.until(1)
        wait_until(lambda: "relay.active" in caplog.text)
    assert ("relay.may_repeat" in caplog.text) is is_reported


def test_a_relay_stands_by_while_another_one_is_active(
    database: Database, published: Published, settings: DjangoSettings
) -> None:
    # The first one has to renew its lease in time, also on a busy machine.
    settings.CARILLON = {**settings.CARILLON, "OUTBOX_LEASE": 60}
    with relaying(database.alias):
        wait_until(lambda: database.relayed)
        with relaying(database.alias) as second:
            publish_outbox("t", "0", using=database.alias)
            published.until(1)
            wait_until(lambda: not database.waiting)
            assert not second.is_active
    assert not database.relayed

"""Rechecks: when a grant is asked for again, and what ends it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random

import pytest

from notifications.hub.grants import Grant, Unsettled
from notifications.hub.recheck import (
    UNSETTLED_SECONDS,
    GrantEnd,
    HeldGrant,
    RecheckPolicy,
    concerns,
    ordered_end,
)
from notifications.hub.subscribers import CloseReason
from notifications.log.entries import EVERYONE, ControlAction, ControlEntry
from tests.harness.fakes import FakeClock

MAX_AGE = 100.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def policy(clock: FakeClock) -> RecheckPolicy:
    return RecheckPolicy(max_age=MAX_AGE, clock=clock, wall_clock=clock, random=Random(1))


def held(
    clock: FakeClock,
    *topics: str,
    renew: Callable[[], Awaitable[Grant | None]] | None = None,
    until: float | None = None,
) -> HeldGrant:
    grant = Grant(topics=topics or ("a",), subjects=("user:5",), renew=renew, until=until)
    return HeldGrant(grant, clock())


async def test_a_confirmed_grant_is_rechecked_within_its_maximum_age(
    policy: RecheckPolicy, clock: FakeClock
) -> None:
    async def renew() -> Grant | None:
        return Grant(topics=("a", "b"))

    grant = held(clock, renew=renew)
    clock.now += 60
    outcome = await policy.recheck(grant)
    assert isinstance(outcome, float)
    assert 0.75 * MAX_AGE <= outcome <= MAX_AGE
    assert grant.confirmed == clock.now
    assert grant.grant.subjects == ("user:5",), "control entries still find it"


async def test_a_grant_without_one_of_its_topics_has_ended_because_of_that(
    policy: RecheckPolicy, clock: FakeClock
) -> None:
    async def renew() -> Grant | None:
        return Grant(topics=("a",))

    outcome = await policy.recheck(held(clock, "a", "b", renew=renew))
    assert outcome == GrantEnd(CloseReason.PERMISSION_ENDED, ["b"])


async def test_a_grant_that_cannot_be_confirmed_lasts_for_twice_its_maximum_age(
    policy: RecheckPolicy, clock: FakeClock
) -> None:
    async def renew() -> Grant | None:
        raise OSError("the database is away")

    grant = held(clock, renew=renew)
    clock.now += 2 * MAX_AGE
    outcome = await policy.recheck(grant)
    assert isinstance(outcome, float)
    assert 5 <= outcome <= 15
    clock.now += 1
    assert await policy.recheck(grant) == GrantEnd(CloseReason.DATABASE_AWAY)


def test_a_grant_with_an_end_in_time_is_looked_at_then(
    policy: RecheckPolicy, clock: FakeClock
) -> None:
    grant = held(clock, until=clock.now + 3)
    assert policy.seconds_until_recheck(grant) == 3
    assert not policy.has_expired(grant)
    clock.now += 3
    assert policy.has_expired(grant)


@pytest.mark.parametrize(
    ("subjects", "topics", "concerned"),
    [
        (("user:5",), (), True),
        (("user:6",), (), False),
        (("topic:a",), (), True),
        ((EVERYONE,), (), True),
        (("user:5",), ("a", "x"), True),
        (("user:5",), ("x",), False),
    ],
)
def test_a_control_entry_concerns_its_subjects_and_of_these_only_its_topics(
    clock: FakeClock, subjects: tuple[str, ...], topics: tuple[str, ...], concerned: bool
) -> None:
    control = ControlEntry(ControlAction.END, subjects, "kicked", topics=topics)
    assert concerns(control, held(clock).grant) is concerned


def test_a_control_entry_ends_a_grant_with_its_reason_or_only_orders_a_recheck() -> None:
    end = ControlEntry(ControlAction.END, ("user:5",), "kicked", topics=("b", "x"))
    assert ordered_end(end, {"a", "b"}) == GrantEnd(CloseReason.KICKED, ["b"])
    other = ControlEntry(ControlAction.END, ("user:5",), "a reason of another version")
    assert ordered_end(other, {"a"}) == GrantEnd(CloseReason.PERMISSION_ENDED, [])
    assert ordered_end(ControlEntry(ControlAction.RECHECK, ("user:5",), ""), {"a"}) is None


async def test_an_unsettled_grant_is_asked_for_again_soon_and_ends_after_its_limit(
    policy: RecheckPolicy, clock: FakeClock
) -> None:
    async def renew() -> Grant | None:
        raise Unsettled(10.0)

    grant = held(clock, "a", "b", renew=renew)
    assert await policy.recheck(grant) == UNSETTLED_SECONDS
    clock.now += 9
    assert await policy.recheck(grant) == UNSETTLED_SECONDS
    clock.now += 1
    assert await policy.recheck(grant) == GrantEnd(CloseReason.PERMISSION_ENDED, ["a", "b"])


async def test_a_grant_that_has_settled_may_become_unsettled_again(
    policy: RecheckPolicy, clock: FakeClock
) -> None:
    answers: list[Grant | Unsettled] = [Unsettled(1.0), Grant(topics=("a",)), Unsettled(1.0)]

    async def renew() -> Grant | None:
        answer = answers.pop(0)
        if isinstance(answer, Unsettled):
            raise answer
        return replace(answer, renew=renew)

    grant = held(clock, renew=renew)
    for expected in (True, False, True):
        assert (await policy.recheck(grant) == UNSETTLED_SECONDS) is expected
        clock.now += 100

"""What becomes of a delivery: any preferences, quiet hours, time zones and changes of clocks."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.inbox import Choice, Priority, State, category
from notifications.inbox.channels import Channel, Digest
from notifications.inbox.delivery.states import Reason
from notifications.inbox.delivery.verdict import (
    Facts,
    Gather,
    Postpone,
    Send,
    Suppress,
    Times,
    Verdict,
    decide,
)
from notifications.inbox.models import Schedule
from notifications.inbox.preferences.choices import is_on
from tests.unit.inbox.shop import no_kinds
from tests.unit.inbox.test_times import instants, is_quiet, minutes_of_a_day, zones

DAY = timedelta(days=1)
LONGEST = timedelta(days=2 * 7 + 3)
"""Until the digest of a week, in a year in which a place leaves out that day, and quiet hours."""
quiet_hours = st.tuples(minutes_of_a_day, minutes_of_a_day).filter(lambda each: each[0] != each[1])
all_times = st.builds(
    Times,
    zone=zones,
    quiet=st.none() | quiet_hours,
    digest=st.sampled_from(Digest),
    digest_at=minutes_of_a_day,
    digest_weekday=st.integers(1, 7),
)
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
SENT_AT_ONCE = Times(UTC, None, Digest.OFF, time(8), 1)


def facts(**changes: object) -> Facts:
    fields: dict[str, object] = {
        "channel": Channel.EMAIL,
        "state": State.UNSEEN,
        "priority": Priority.NORMAL,
        "expires_at": None,
        "is_replaced": False,
        "is_asked_for": True,
        "is_wanted": True,
        "is_active": True,
        "has_address": True,
    }
    return Facts(**{**fields, **changes})  # type: ignore[arg-type]


def steps(known: Facts, times: Times, due: datetime) -> Iterator[tuple[datetime, object]]:
    """The verdicts on one delivery, each at the time that the one before has named."""
    now, is_in_digest = due, False
    while True:
        if is_in_digest:  # as a digest is looked at: it only waits for the end of quiet hours
            end = times.quiet_until(now)
            verdict: Verdict = Send() if end is None else Postpone(end)
        else:
            verdict = decide(known, times, now)
        yield now, verdict
        match verdict:
            case Postpone(until):
                now = until
            case Gather(digest_at):
                now, is_in_digest = digest_at, True
            case _:
                return


@given(instants, all_times, st.sampled_from(Priority))
def test_what_is_wanted_is_sent_in_the_end_and_never_in_quiet_hours(
    due: datetime, times: Times, priority: Priority
) -> None:
    taken = list(steps(facts(priority=priority), times, due))
    sent_at, last = taken[-1]
    assert last == Send()
    assert due <= sent_at <= due + LONGEST
    assert all(before < after for (before, _), (after, _) in pairwise(taken))
    if priority == Priority.HIGH:
        assert sent_at == due
        return
    assert isinstance(times.zone, ZoneInfo)
    assert times.quiet is None or not is_quiet(sent_at, times.zone, *times.quiet)
    gathered = [verdict for _, verdict in taken if isinstance(verdict, Gather)]
    assert len(gathered) == (times.digest is not Digest.OFF)
    if times.digest is Digest.OFF and times.quiet is None:
        assert sent_at == due


@given(
    st.sampled_from(Choice),
    st.none() | st.booleans(),
    all_times,
    instants,
)
def test_a_preference_decides_unless_the_category_does(
    choice: Choice, chosen: bool | None, times: Times, due: datetime
) -> None:
    with no_kinds():
        category("orders", choices={"email": choice})
        known = {} if chosen is None else {("orders", Channel.EMAIL): chosen}
        wanted = is_on("orders", Channel.EMAIL, known)
    is_default = choice is Choice.ON if chosen is None else chosen
    assert wanted is (choice is Choice.ALWAYS or is_default)
    *_, (_, last) = steps(facts(is_wanted=wanted), times, due)
    assert last == (Send() if wanted else Suppress(Reason.PREFERENCE))


@given(st.sampled_from(State), all_times, st.sampled_from(Priority))
def test_what_was_seen_is_suppressed_whatever_else_holds(
    state: State, times: Times, priority: Priority
) -> None:
    verdict = decide(facts(state=state, priority=priority), times, NOW)
    is_unseen = state in (State.UNSEEN, State.MUTED)
    assert isinstance(verdict, Suppress) is not is_unseen
    if isinstance(verdict, Suppress):
        assert str(verdict.reason) == state.word


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"is_replaced": True, "state": State.READ}, Reason.REPLACED),
        ({"expires_at": NOW}, Reason.EXPIRED),
        ({"is_asked_for": False, "is_wanted": False}, Reason.NOT_ASKED),
        ({"is_wanted": False, "is_active": False}, Reason.PREFERENCE),
        ({"is_active": False, "has_address": False}, Reason.INACTIVE),
        ({"has_address": False}, Reason.NO_ADDRESS),
    ],
)
def test_the_first_reason_is_named(changes: dict[str, object], reason: Reason) -> None:
    assert decide(facts(**changes), SENT_AT_ONCE, NOW) == Suppress(reason)
    assert decide(facts(expires_at=NOW + DAY), SENT_AT_ONCE, NOW) == Send()


def test_a_person_without_a_schedule_is_reached_at_any_time() -> None:
    times = Times.of(Schedule())
    assert (str(times.zone), times.quiet, times.digest) == ("UTC", None, Digest.OFF)
    assert decide(facts(), times, NOW) == Send()

"""Quiet hours and digests, in any time zone and on days when clocks are changed."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.inbox.preferences.times import (
    end_of_quiet,
    next_digest,
    zone_names,
    zone_of,
)

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
CHANGES = [
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Europe: an hour is missing
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # Europe: an hour comes twice
    datetime(2026, 3, 8, 7, tzinfo=UTC),  # New York
    datetime(2026, 4, 4, 15, tzinfo=UTC),  # Lord Howe: half an hour
    datetime(2011, 12, 30, 10, tzinfo=UTC),  # Apia: a day is missing
]
zones = st.sampled_from(
    [
        *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"),
        *("Pacific/Apia", "America/St_Johns", "Africa/Casablanca"),
    ]
).map(ZoneInfo)
minutes_of_a_day = st.integers(0, 24 * 60 - 1).map(lambda each: time(each // 60, each % 60))
near_changes = st.builds(
    lambda change, seconds: change + timedelta(seconds=seconds),
    st.sampled_from(CHANGES),
    st.integers(-36 * 3600, 36 * 3600),
)
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2060, 1, 1, tzinfo=UTC)
instants = near_changes | st.integers(0, int((LAST - FIRST).total_seconds())).map(
    lambda seconds: FIRST + timedelta(seconds=seconds)
)


def is_quiet(at: datetime, zone: ZoneInfo, begins: time, ends: time) -> bool:
    """By what a clock on the wall shows."""
    shown = at.astimezone(zone).time()
    return begins <= shown < ends if begins <= ends else shown >= begins or shown < ends


@given(instants, zones, minutes_of_a_day, minutes_of_a_day)
def test_quiet_hours_end_at_the_first_minute_that_is_not_quiet(
    now: datetime, zone: ZoneInfo, begins: time, ends: time
) -> None:
    end = end_of_quiet(now, zone, begins, ends)
    if not is_quiet(now, zone, begins, ends):
        assert end is None
        return
    assert end is not None
    assert end > now
    assert not is_quiet(end, zone, begins, ends)
    assert all(
        is_quiet(now + number * MINUTE, zone, begins, ends)
        for number in range((end - now) // MINUTE)
    )


@given(instants, zones, minutes_of_a_day, st.none() | st.integers(1, 7))
def test_a_digest_comes_at_its_time_and_none_is_left_out(
    now: datetime, zone: ZoneInfo, at: time, weekday: int | None
) -> None:
    digest = next_digest(now, zone, at, weekday)
    period = timedelta(days=7 if weekday else 1)
    assert now < digest
    assert digest - now <= period + timedelta(days=7 if str(zone) == "Pacific/Apia" else 0) + HOUR
    there = digest.astimezone(zone)
    if there.time() == at and weekday in (None, there.isoweekday()):
        return
    # Clocks leave out that time of this day, or all of the day before.
    days = (there.date(), there.date() - timedelta(days=1))
    meant = [day for day in days if datetime.combine(day, at, zone).astimezone(UTC) == digest]
    assert any(weekday in (None, day.isoweekday()) for day in meant)


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-01-10T21:59:59+01:00", None),
        ("2026-01-10T22:00:00+01:00", "2026-01-11T07:00:00+01:00"),
        ("2026-01-11T06:59:59+01:00", "2026-01-11T07:00:00+01:00"),
        ("2026-01-11T07:00:00+01:00", None),
        ("2026-03-28T23:00:00+01:00", "2026-03-29T07:00:00+02:00"),  # seven hours
        ("2026-10-24T23:00:00+02:00", "2026-10-25T07:00:00+01:00"),  # nine hours
    ],
)
def test_quiet_hours_of_a_night_in_berlin(now: str, end: str | None) -> None:
    found = end_of_quiet(datetime.fromisoformat(now), ZoneInfo("Europe/Berlin"), time(22), time(7))
    assert found == (None if end is None else datetime.fromisoformat(end))


def test_people_choose_from_cities_and_an_unknown_zone_is_that_of_the_site() -> None:
    assert {"UTC", "Europe/Berlin", "America/Argentina/Salta"} <= set(zone_names())
    assert not {"Etc/GMT+5", "posix/UTC", "EST5EDT"} & set(zone_names())
    assert str(zone_of("")) == str(zone_of("Europe/Atlantis")) == "UTC"

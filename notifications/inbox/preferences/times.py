"""The end of quiet hours and the time of the next digest, in any time zone, on any day.

Times of a day are those of a clock on the wall there: on a day when clocks are changed, an hour of
that clock is missing or comes twice.
"""

from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from django.conf import settings
from django.utils import timezone

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
LONGEST_SEARCH = 2 * DAY
"""In some years a place has left out a whole day."""
REGIONS = frozenset(
    "Africa America Antarctica Arctic Asia Atlantic Australia Europe Indian Pacific".split()  # noqa: SIM905
)


@cache
def zone_names() -> tuple[str, ...]:
    """The time zones that a person may choose: those of places, and UTC."""
    regional = (name for name in available_timezones() if name.partition("/")[0] in REGIONS)
    return ("UTC", *sorted(name for name in regional if "/" in name))


def zone_of(name: str) -> tzinfo:
    """The time zone of this name, or that of the site where there is none."""
    return _zone(name) or timezone.get_default_timezone()


@cache
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (LookupError, ValueError, OSError):  # the system has other zones than it had
        return None


def end_of_quiet(now: datetime, zone: tzinfo, begins: time, ends: time) -> datetime | None:
    """When the quiet hours end in which `now` is, or None if it is in none. Both are aware."""
    there = now.astimezone(zone)
    if not _is_quiet(there.time(), begins, ends):
        return None
    end = now + _until(there.time(), ends)
    if end.astimezone(zone).utcoffset() == there.utcoffset():
        return end
    return _first_not_quiet(now, zone, begins, ends)


def _is_quiet(at: time, begins: time, ends: time) -> bool:
    return begins <= at < ends if begins <= ends else not ends <= at < begins


def _until(at: time, ends: time) -> timedelta:
    """From one time of a day to the next such time."""
    difference = _since_midnight(ends) - _since_midnight(at)
    return difference if difference > timedelta() else difference + DAY


def _since_midnight(at: time) -> timedelta:
    return timedelta(
        hours=at.hour, minutes=at.minute, seconds=at.second, microseconds=at.microsecond
    )


def _first_not_quiet(now: datetime, zone: tzinfo, begins: time, ends: time) -> datetime:
    """Clocks are changed in between, so each minute is asked for what the clocks show."""
    start = now.astimezone(UTC).replace(second=0, microsecond=0)
    for number in range(1, LONGEST_SEARCH // MINUTE):
        minute = start + number * MINUTE
        if not _is_quiet(minute.astimezone(zone).time(), begins, ends):
            return minute
    return now + DAY


def next_digest(now: datetime, zone: tzinfo, at: time, weekday: int | None = None) -> datetime:
    """The next time of a digest after `now`: every day, or on this day of the week (1: Monday)."""
    today = now.astimezone(zone).date()
    days = (today + number * DAY for number in range(-1, 16))
    times = (
        datetime.combine(day, at, zone).astimezone(UTC)
        for day in days
        if weekday is None or day.isoweekday() == weekday
    )
    return next(each for each in times if each > now)


# As the database has times


def aware(at: datetime) -> datetime:
    """A time of the database, which has no zone with `USE_TZ = False`."""
    return timezone.make_aware(at, timezone.get_default_timezone()) if timezone.is_naive(at) else at


def stored(at: datetime) -> datetime:
    """A time as the database takes it."""
    if settings.USE_TZ or timezone.is_naive(at):
        return at
    return timezone.make_naive(at, timezone.get_default_timezone())

"""What to do with a delivery whose time has come: a pure function of what is known of it."""

from dataclasses import dataclass
from datetime import datetime, time, tzinfo
from typing import TYPE_CHECKING

from notifications.inbox.channels import Channel, Digest
from notifications.inbox.delivery.states import Reason
from notifications.inbox.preferences.times import aware, end_of_quiet, next_digest, zone_of
from notifications.inbox.states import Priority, State

if TYPE_CHECKING:
    from notifications.inbox.models import Schedule

UNSEEN = (State.UNSEEN, State.MUTED)
"""States of what nobody has seen. Who wants none in the inbox cannot see it there."""

_SUPPRESSED_BY = {
    State.SEEN: Reason.SEEN,
    State.READ: Reason.READ,
    State.ARCHIVED: Reason.ARCHIVED,
    State.WITHDRAWN: Reason.WITHDRAWN,
    State.EXPIRED: Reason.EXPIRED,
}


@dataclass(frozen=True, slots=True)
class Times:
    """When a person may be reached."""

    zone: tzinfo
    quiet: tuple[time, time] | None
    digest: Digest
    digest_at: time
    digest_weekday: int

    @classmethod
    def of(cls, schedule: "Schedule") -> "Times":
        begins, ends = schedule.quiet_from, schedule.quiet_until
        return cls(
            zone=zone_of(schedule.time_zone),
            quiet=None if begins is None or ends is None else (begins, ends),
            digest=Digest(schedule.digest),
            digest_at=schedule.digest_at,
            digest_weekday=schedule.digest_weekday,
        )

    def quiet_until(self, now: datetime) -> datetime | None:
        """When the quiet hours end in which `now` is, if it is in any."""
        return None if self.quiet is None else end_of_quiet(now, self.zone, *self.quiet)

    def digest_after(self, now: datetime) -> datetime | None:
        """When the next digest is due, if the person wants one."""
        if self.digest is Digest.OFF:
            return None
        weekday = self.digest_weekday if self.digest is Digest.WEEKLY else None
        return next_digest(now, self.zone, self.digest_at, weekday)


@dataclass(frozen=True, slots=True)
class Facts:
    """All that decides about a delivery of one notification. Times are aware."""

    channel: Channel
    state: State
    priority: Priority
    expires_at: datetime | None
    is_replaced: bool
    is_asked_for: bool
    is_wanted: bool
    is_active: bool
    has_address: bool


@dataclass(frozen=True, slots=True)
class Send:
    pass


@dataclass(frozen=True, slots=True)
class Suppress:
    reason: Reason


@dataclass(frozen=True, slots=True)
class Postpone:
    until: datetime
    reason: Reason = Reason.QUIET_HOURS


@dataclass(frozen=True, slots=True)
class Gather:
    """It becomes part of the digest of this time."""

    digest_at: datetime


type Verdict = Send | Suppress | Postpone | Gather


def decide(facts: Facts, times: Times, now: datetime) -> Verdict:
    """What is of high priority waits for no digest and for the end of no quiet hours.

    Digests are e-mails: a push message about what is old is none.
    """
    if reason := reason_to_suppress(facts, now):
        return Suppress(reason)
    if facts.priority == Priority.HIGH:
        return Send()
    if facts.channel is Channel.EMAIL and (digest_at := times.digest_after(now)):
        return Gather(digest_at)
    if end := times.quiet_until(now):
        return Postpone(end)
    return Send()


def reason_to_suppress(facts: Facts, now: datetime) -> Reason | None:
    """Why nobody is to be told of it any more, if so."""
    if facts.is_replaced:
        return Reason.REPLACED
    if facts.state not in UNSEEN:
        return _SUPPRESSED_BY[facts.state]
    if facts.expires_at is not None and aware(facts.expires_at) <= now:
        return Reason.EXPIRED
    if not facts.is_asked_for:
        return Reason.NOT_ASKED
    if not facts.is_wanted:
        return Reason.PREFERENCE
    if not facts.is_active:
        return Reason.INACTIVE
    return None if facts.has_address else Reason.NO_ADDRESS

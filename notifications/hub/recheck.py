"""Rechecks: whether a grant in use still holds, by one set of rules for streams and exports."""

import random
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace

from notifications.conf.namespace import log_subjects, log_topics
from notifications.hub.grants import Grant, Unsettled, topic_subject
from notifications.hub.primary import reads_from_primary
from notifications.hub.scheduling import Randomness
from notifications.hub.subscribers import CloseReason
from notifications.log.entries import EVERYONE, ControlAction, ControlEntry
from notifications.telemetry.logs import logger

JITTER = 0.25
"""A grant is rechecked up to this part of its maximum age earlier, so that rechecks spread out."""
RETRY_SECONDS = 5.0, 15.0
"""The range of the pause after a recheck that got no answer."""
UNSETTLED_SECONDS = 0.25
"""The pause before the next look at credentials that are being changed."""


@dataclass(slots=True)
class HeldGrant:
    """A grant in use by a stream or an export, and when its database last confirmed it.

    `unsettled` is when its credentials were first found to be changing, if they are.
    """

    grant: Grant
    confirmed: float
    unsettled: float | None = None


@dataclass(frozen=True, slots=True)
class GrantEnd:
    """Why a grant in use has ended, and the topics that the reason is about, if not all of them."""

    reason: CloseReason
    topics: Collection[str] = ()


class RecheckPolicy:
    """When a grant is rechecked and what follows from the answer.

    The policy has no timer: it returns seconds, and the caller waits for them.
    """

    def __init__(
        self,
        *,
        max_age: float,
        clock: Callable[[], float],
        wall_clock: Callable[[], float] = time.time,
        random: Randomness = random,
        jitter: float = JITTER,
        retry_seconds: tuple[float, float] = RETRY_SECONDS,
    ) -> None:
        self._max_age = max_age
        self._clock = clock
        self._wall_clock = wall_clock
        self._random = random
        self._jitter = jitter
        self._retry_seconds = retry_seconds

    def seconds_until_recheck(self, held: HeldGrant) -> float:
        """How long a grant is still believed that was confirmed just now, or some time ago."""
        believed = self._max_age * self._random.uniform(1 - self._jitter, 1)
        return self._capped(held, max(0.0, believed - (self._clock() - held.confirmed)))

    def _capped(self, held: HeldGrant, seconds: float) -> float:
        """`seconds`, or the time until the grant expires if it is shorter."""
        if held.grant.until is None:
            return seconds
        return min(seconds, max(0.0, held.grant.until - self._wall_clock()))

    def has_expired(self, held: HeldGrant) -> bool:
        return held.grant.until is not None and self._wall_clock() >= held.grant.until

    async def recheck(self, held: HeldGrant) -> GrantEnd | float:
        """Ask for the grant again: why it has ended, or the seconds until the next recheck."""
        assert held.grant.renew is not None
        try:
            with reads_from_primary():
                grant = await held.grant.renew()
        except Unsettled as change:
            return self._unsettled(held, change.limit_seconds)
        except Exception:
            logger.exception("grant.unknown", subjects=held.grant.subjects)
            return self._unanswered(held)
        if grant is None or not grant.still_covers(held.grant):
            lost = set(held.grant.topics).difference(grant.topics if grant else ())
            return GrantEnd(CloseReason.PERMISSION_ENDED, sorted(lost))
        # Control entries find the grant under the subjects with which it was first held.
        held.grant = replace(grant, subjects=held.grant.subjects)
        held.confirmed, held.unsettled = self._clock(), None
        return self.seconds_until_recheck(held)

    def _unsettled(self, held: HeldGrant, limit_seconds: float) -> GrantEnd | float:
        now = self._clock()
        if held.unsettled is None:
            held.unsettled = now
        if now - held.unsettled >= limit_seconds:
            return GrantEnd(CloseReason.PERMISSION_ENDED, sorted(held.grant.topics))
        return self._capped(held, UNSETTLED_SECONDS)

    def _unanswered(self, held: HeldGrant) -> GrantEnd | float:
        """A database that cannot be reached denies nothing, but the grant cannot last for ever."""
        if self._clock() - held.confirmed > 2 * self._max_age:
            return GrantEnd(CloseReason.DATABASE_AWAY)
        pause = min(self._random.uniform(*self._retry_seconds), self._max_age)
        return self._capped(held, pause)


def concerns(control: ControlEntry, grant: Grant) -> bool:
    """Whether the control entry names a subject of the grant, or one of its topics."""
    if EVERYONE in control.subjects:
        is_named = control.namespace in ("", grant.namespace)
    else:
        subjects = (*grant.log_subjects, *map(topic_subject, grant.log_topics))
        is_named = not set(subjects).isdisjoint(log_subjects(control.namespace, control.subjects))
    return is_named and applies_to(control, grant.log_topics)


def applies_to(control: ControlEntry, topics: Collection[str]) -> bool:
    """A control entry with topics is only about streams and exports that have one of them.

    `topics` are as the log has them, here and in `ordered_end`.
    """
    return not control.topics or not set(topics).isdisjoint(
        log_topics(control.namespace, control.topics)
    )


def ordered_end(control: ControlEntry, topics: Collection[str]) -> GrantEnd | None:
    """How the control entry ends a grant of these topics; None if it only orders a recheck."""
    if control.action is ControlAction.RECHECK:
        return None
    reason = CloseReason.PERMISSION_ENDED
    with suppress(ValueError):
        reason = CloseReason(control.reason)
    named = log_topics(control.namespace, control.topics)
    lost = zip(control.topics, named, strict=True)
    return GrantEnd(reason, [topic for topic, name in lost if name in topics])

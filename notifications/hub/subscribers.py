"""Subscribers: what the hub keeps of each open stream, and why a stream ends."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import takewhile
from math import inf
from typing import Protocol

from notifications.hub.encoders import Encoder
from notifications.log.cursors import START, Cursor, Position
from notifications.log.entries import Entry, ResetReason
from notifications.transport.base import Payload, Transport

logger = logging.getLogger("carillon")


class CloseReason(StrEnum):
    """Why a stream or an export ended, or did not begin."""

    CLIENT_LEFT = "client_left"
    WRITE_FAILED = "write_failed"
    TOO_SLOW = "too_slow"
    """The client took longer than the write deadline to accept one payload, or acknowledged nothing
    for as long."""
    FELL_BEHIND = "fell_behind"
    """The window no longer holds the next event for this client."""
    STOPPING = "stopping"
    """This process stops."""
    DRAINING = "draining"
    """This process stops soon, or another one replaces it: it ends its streams one by one."""
    STARTING = "starting"
    """This process has not loaded its window yet."""
    LOG_AWAY = "log_away"
    """The log cannot be reached, so the rest of an export cannot be read."""
    DATABASE_AWAY = "user_unknown"
    """The database that holds sessions and permissions cannot be reached."""
    SIGNED_OUT = "signed_out"
    """The user logged out of the session that opened this stream."""
    PERMISSION_ENDED = "permission_ended"
    """The user may no longer subscribe to at least one of these topics, or no longer exists."""
    EXPIRED = "expired"
    """The permission was limited in time, and the time is over."""
    KICKED = "kicked"
    """An operator or the application ended the streams of this user or topic."""
    TOO_OLD = "too_old"
    """The stream reached the maximum age: its browser reconnects, perhaps to another process."""
    TOO_MANY_STREAMS = "too_many_streams"
    """This process already has the maximum number of streams."""
    TOO_MANY_OF_ADDRESS = "too_many_of_address"
    """The client's address already has the maximum number of streams in this process."""
    TOO_MANY_OF_USER = "too_many_of_user"
    """The user already has the maximum number of streams in this process."""

    @property
    def level(self) -> int:
        """The level of the log line: the usual reasons are of no interest to an operator."""
        return logging.DEBUG if self in _USUAL_REASONS else logging.INFO


_USUAL_REASONS = frozenset(
    {
        CloseReason.CLIENT_LEFT,
        CloseReason.DRAINING,
        CloseReason.STOPPING,
        CloseReason.TOO_OLD,
    }
)

_HANG_UP = frozenset({CloseReason.FELL_BEHIND, CloseReason.TOO_OLD})
"""The connection is closed for these reasons. `FELL_BEHIND`: the client may never read the rest.
`TOO_OLD`: the client would use the same connection again, and reach the same process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a stream starts: after a cursor, at a time (ms since 1970), or, with neither, now.

    Or after a cursor for each topic: None is a cursor that cannot be read.
    """

    cursor: str | Cursor | None = None
    since_ms: int | None = None
    cursors: Mapping[str, Cursor | None] = field(default_factory=dict)


class SubscriberCallbacks(Protocol):
    """The hub, as a subscriber knows it."""

    def drained(self, subscriber: "Subscriber") -> None: ...

    def lost(self, subscriber: "Subscriber") -> None: ...


@dataclass(slots=True, eq=False)
class Audience:
    """The subscribers that want exactly the same bytes."""

    topics: frozenset[str]
    encoder: Encoder
    members: dict["Subscriber", None] = field(default_factory=dict)


class Subscriber:
    """One open stream: a cursor into the window, and the transport to fill from there.

    Only its own methods change it. `behind`: the window may hold more for it after `position`.
    `pending_reset`: the reset to report before anything else. `since`: for each topic whose history
    is limited, the first position that may be replayed. `subjects`: the names by which
    an event may skip it. `quota_names`: the names under which the quotas count it. `expires_at`:
    when it reaches its maximum age, by the event loop's clock. `visit_tick` and `check_ticks`: when
    the timer wheels have it, which forget it when it leaves.
    """

    __slots__ = (
        *("_callbacks", "audience", "behind", "check_ticks", "expires_at", "open"),
        *("pending_reset", "position", "quota_names", "since", "subjects", "transport"),
        "visit_tick",
    )

    def __init__(
        self,
        callbacks: SubscriberCallbacks,
        audience: Audience,
        transport: Transport,
        position: Position,
        *,
        subjects: tuple[str, ...] = (),
    ) -> None:
        self._callbacks = callbacks
        self.audience = audience
        self.transport = transport
        self.position = position
        self.subjects = subjects
        self.behind = False
        self.pending_reset: ResetReason | None = None
        self.since: Mapping[str, Position] | None = None
        self.quota_names: tuple[str, ...] | None = None
        self.expires_at = inf
        self.visit_tick = 0
        self.check_ticks: tuple[int, ...] = ()
        self.open = True
        audience.members[self] = None
        transport.callbacks = self

    # Its position in the log

    def send(self, payload: Payload, position: Position) -> None:
        """Hand over a payload with which the subscriber has everything up to `position`.

        The position and the write are one method, because fan-out calls it for every delivery.
        """
        self.position = position
        self.transport.write(payload)

    def reached(self, settled: Position) -> Position:
        """The position up to which it has everything. `settled`: where the last fan-out ended."""
        return self.position if self.behind else max(self.position, settled)

    def advance(self, position: Position) -> None:
        self.position = position

    def fall_behind(self, reached: Position) -> None:
        """It has everything up to `reached`, and gets what follows from the window."""
        self.position = max(self.position, reached)
        self.behind = True

    def catch_up(self, head: Position) -> None:
        """It has everything up to `head`, and gets what follows from the fan-out."""
        self.position = max(self.position, head)
        self.behind = False
        self.since = None  # a restriction of the history; what follows is live

    def require_reset(self, reason: ResetReason) -> None:
        """It may have missed events: report that before anything else."""
        self.pending_reset = reason
        self.behind = True

    def reset_to(self, head: Position) -> None:
        """The reset is sent now: the subscriber continues after `head`."""
        self.pending_reset = None
        self.position = head
        self.behind = False
        self.since = None

    # Which events it gets

    def limit_history(self, since: Mapping[str, Position], *, head: Position) -> None:
        """Restrict the history of some topics. A live event is never held back by this."""
        live = Position(head + 1)
        self.since = {topic: min(first, live) for topic, first in since.items()} or None

    def may_receive(self, entry: Entry) -> bool:
        """Whether this subscriber may get the entry.

        The entry must not skip it, and the history of at least one of its topics must reach back to
        the entry.
        """
        if entry.skip and self.has_subject_in(entry.skip):
            return False
        since = self.since
        return since is None or any(
            topic in self.audience.topics and entry.position >= since.get(topic, START)
            for topic in entry.topics
        )

    def has_subject_in(self, subjects: Collection[str]) -> bool:
        return any(subject in subjects for subject in self.subjects)

    # Its age, its quotas and its end

    def limit_age(self, expires_at: float) -> None:
        self.expires_at = expires_at

    def file_visit(self, tick: int) -> None:
        self.visit_tick = tick

    def file_check(self, tick: int, *, now: int) -> None:
        """A deadline may be longer than a period: then more than one check is yet to come."""
        self.check_ticks = (*(earlier for earlier in self.check_ticks if earlier > now), tick)

    def count_under(self, quota_names: tuple[str, ...] | None) -> None:
        self.quota_names = quota_names

    def mark_closed(self) -> None:
        self.open = False

    def release(self) -> None:
        """Nothing more is sent: from now on the transport does not refer to it."""
        self.transport.release()

    def end(self, reason: CloseReason, topics: Collection[str]) -> bool:
        """Write the closing block, with the `topics` that the reason is about.

        A busy transport takes no closing block: it is aborted, as it also is for `WRITE_FAILED` and
        `TOO_SLOW`. Returns whether the closing block is still being sent.
        """
        transport = self.transport
        if transport.busy or reason in (CloseReason.WRITE_FAILED, CloseReason.TOO_SLOW):
            transport.abort()
            return False
        encoder = self.audience.encoder
        try:
            block = encoder.forbidden(reason, topics) if topics else encoder.closing(reason)
            transport.end(Payload(block), hang_up=reason in _HANG_UP)
        except Exception:
            logger.exception("transport.failed")
            transport.abort()
        return transport.busy

    # What the transport reports

    def drained(self) -> None:
        self._callbacks.drained(self)

    def lost(self) -> None:
        self._callbacks.lost(self)


class SlowSubscribers:
    """The subscribers whose transport is still busy with a payload: the one that has waited longest
    first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._waiting_since: dict[Subscriber, float] = {}
        self._clock = clock

    def __len__(self) -> int:
        return len(self._waiting_since)

    def add(self, subscriber: Subscriber) -> None:
        self._waiting_since[subscriber] = self._clock()

    def discard(self, subscriber: Subscriber) -> None:
        self._waiting_since.pop(subscriber, None)

    def overdue(self, deadline: float) -> Iterator[Subscriber]:
        """Take out, one by one, the subscribers that have waited for `deadline` seconds.

        Other subscribers may come and go between two steps of the iteration.
        """
        oldest = self._clock() - deadline
        waited = takewhile(lambda wait: wait[1] <= oldest, self._waiting_since.items())
        for subscriber, waiting_since in list(waited):
            if self._waiting_since.get(subscriber) == waiting_since:
                del self._waiting_since[subscriber]
                yield subscriber

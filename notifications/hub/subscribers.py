"""Subscribers: what the hub keeps of each open stream, and why a stream ends."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Protocol

from notifications.hub.encoders import Encoder
from notifications.log.cursors import START, Cursor, Position
from notifications.log.entries import ResetReason
from notifications.log.records import Entry
from notifications.telemetry.logs import logger
from notifications.transport.base import Loss, Payload, Transport


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
    USER_CHANGED = "user_changed"  # the page was made for another user
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

CLOSING_REASONS = frozenset(CloseReason) - {
    CloseReason.CLIENT_LEFT,
    CloseReason.WRITE_FAILED,
    CloseReason.TOO_SLOW,
    CloseReason.LOG_AWAY,
}
"""The reasons in the `stream.closing` of a process."""
ORIGIN_AWAY = "origin_away"
"""The reason that a proxy gives for a service that it cannot reach (docs/deploy.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a stream starts: after a cursor, at a time (ms since 1970), or, with neither, now.

    Or before the `last` so many events of its topics, or after a cursor for each topic: None is a
    cursor that cannot be read. The opening block repeats `page_user`.
    """

    cursor: str | Cursor | None = None
    since_ms: int | None = None
    last: int = 0
    cursors: Mapping[str, Cursor | None] = field(default_factory=dict)
    page_user: str = ""


class SubscriberCallbacks(Protocol):
    """The hub, as a subscriber knows it."""

    def drained(self, subscriber: "Subscriber") -> None: ...

    def lost(self, subscriber: "Subscriber", loss: Loss) -> None: ...


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
    an event may skip it. `opened_at`: when it joined, by the event loop's clock. `address`: its
    client's, for the log. `quota_names`: the names under which the quotas count it. `expires_at`:
    when it reaches its maximum age, by the event loop's clock. `visit_tick`: when the timer
    wheel has it, which forgets it when it leaves.
    """

    __slots__ = (
        *("_callbacks", "address", "audience", "behind", "expires_at", "open", "opened_at"),
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
        opened_at: float,
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
        self.address: str | None = None
        self.opened_at = opened_at
        self.expires_at = inf
        self.visit_tick = 0
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

    def came_from(self, address: str | None) -> None:
        self.address = address

    def limit_age(self, expires_at: float) -> None:
        self.expires_at = expires_at

    def file_visit(self, tick: int) -> None:
        self.visit_tick = tick

    def count_under(self, quota_names: tuple[str, ...] | None) -> None:
        self.quota_names = quota_names

    def mark_closed(self) -> None:
        self.open = False

    def log_end(self, reason: CloseReason, *, now: float) -> None:
        """The line of the log that is the access log of streams."""
        logger.log(
            reason.level,
            "stream.closed",
            reason=reason,
            topics=len(self.audience.topics),
            address=self.address,
            seconds=round(now - self.opened_at, 3),
            bytes=self.transport.sent_bytes,
        )

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
            transport.end(Payload(block), break_off=encoder.ends_broken_off)
        except Exception:
            logger.exception("transport.failed")
            transport.abort()
        return transport.busy

    # What the transport reports

    def drained(self) -> None:
        self._callbacks.drained(self)

    def lost(self, loss: Loss = Loss.FAILED) -> None:
        self._callbacks.lost(self, loss)

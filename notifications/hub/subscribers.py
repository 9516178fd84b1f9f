"""Subscribers, and the audiences that they form: what the hub keeps of each open stream."""

import asyncio
import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import takewhile
from math import inf
from typing import Protocol

from notifications.hub.encoders import Encoder
from notifications.log.base import Entry, ResetReason
from notifications.log.cursors import START, Cursor, Position
from notifications.transport.base import Transport


class CloseReason(StrEnum):
    """Why a stream ended, or did not begin."""

    CLIENT_LEFT = "client_left"
    WRITE_FAILED = "write_failed"
    TOO_SLOW = "too_slow"
    """The client took longer than the write deadline to accept one chunk."""
    FELL_BEHIND = "fell_behind"
    """The window no longer has what the client was to get next."""
    STOPPING = "stopping"
    """This process stops."""
    DRAINING = "draining"
    """This process stops soon, or is replaced by another: its streams are told one by one."""
    STARTING = "starting"
    """This process has not loaded its window yet."""
    LOG_AWAY = "log_away"
    """The log cannot be reached, so that the rest of what was asked for cannot be read."""
    USER_UNKNOWN = "user_unknown"
    """Who asks cannot be told now: the sessions are out of reach."""
    SIGNED_OUT = "signed_out"
    """The user logged out of the session by which this stream was opened."""
    PERMISSION_ENDED = "permission_ended"
    """Who asked may not hear all of these topics any more, or is nobody we know any more."""
    EXPIRED = "expired"
    """The permission was for a time, and that is over."""
    KICKED = "kicked"
    """Somebody ended the streams of this user or topic."""
    TOO_OLD = "too_old"
    """It was open for as long as a stream may be: its browser comes back, perhaps elsewhere."""
    TOO_MANY_STREAMS = "too_many_streams"
    """This process has as many as it may have."""
    TOO_MANY_OF_ADDRESS = "too_many_of_address"
    """The address that asks has as many here as one may have."""
    TOO_MANY_OF_USER = "too_many_of_user"
    """The user who asks has as many here as one may have."""

    @property
    def level(self) -> int:
        """Of the line in the log: an operator need not be told of all."""
        return logging.DEBUG if self in _USUAL else logging.INFO


_USUAL = frozenset(
    {
        *(CloseReason.CLIENT_LEFT, CloseReason.DRAINING, CloseReason.STOPPING),
        CloseReason.TOO_OLD,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a stream begins: after a cursor, at a time (ms since 1970), or, with neither, now.

    Or after a cursor for each topic, of which None is one that cannot be read.
    """

    cursor: str | Cursor | None = None
    since_ms: int | None = None
    cursors: Mapping[str, Cursor | None] = field(default_factory=dict)


class Keeper(Protocol):
    """Who looks after subscribers: the hub."""

    def drained(self, subscriber: "Subscriber") -> None: ...

    def lost(self, subscriber: "Subscriber") -> None: ...


@dataclass(slots=True, eq=False)
class Audience:
    """The subscribers that want exactly the same bytes."""

    topics: frozenset[str]
    encoder: Encoder
    members: dict["Subscriber", None] = field(default_factory=dict)


class Subscriber:
    """One open stream: a cursor into the window, and the wire to fill from there.

    `behind`: there may be more for it in the window after `position`. `reset`: it is to be told so
    before anything else. `since`: topics whose history it may have from a place on only.
    `subjects`: the names under which events may pass it over. `names`: under which it is counted.
    `until`: when it is old, by the event loop's clock.
    """

    __slots__ = (
        *("_keeper", "audience", "behind", "names", "open", "position", "reset", "since"),
        *("subjects", "transport", "until"),
    )

    def __init__(
        self, keeper: Keeper, audience: Audience, transport: Transport, position: Position
    ) -> None:
        self._keeper = keeper
        self.audience = audience
        self.transport = transport
        self.position = position
        self.behind = False
        self.reset: ResetReason | None = None
        self.since: Mapping[str, Position] | None = None
        self.subjects: tuple[str, ...] = ()
        self.names: tuple[str, ...] | None = None
        self.until = inf
        self.open = True
        audience.members[self] = None
        transport.owner = self

    def limit_history(self, since: Mapping[str, Position], *, head: Position) -> None:
        """What is live is never held back, however late the history is to begin."""
        live = Position(head + 1)
        self.since = {topic: min(first, live) for topic, first in since.items()} or None

    def may_have(self, entry: Entry) -> bool:
        """Whether it is not passed over, and a topic by which it would come begins before it."""
        if entry.skip and self.is_among(entry.skip):
            return False
        since = self.since
        return since is None or any(
            topic in self.audience.topics and entry.position >= since.get(topic, START)
            for topic in entry.topics
        )

    def is_among(self, subjects: Collection[str]) -> bool:
        return any(subject in subjects for subject in self.subjects)

    def drained(self) -> None:
        self._keeper.drained(self)

    def lost(self) -> None:
        self._keeper.lost(self)


# Waiting: whose wire is still busy with what it was handed, and since when.


class Waiting:
    """In the order in which they began to wait. Times are the event loop's."""

    def __init__(self) -> None:
        self._since: dict[Subscriber, float] = {}
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return len(self._since)

    def begin(self, subscriber: Subscriber) -> None:
        self._since[subscriber] = self._loop.time()

    def end(self, subscriber: Subscriber) -> None:
        self._since.pop(subscriber, None)

    def late(self, deadline: float) -> Iterator[Subscriber]:
        """Those who have waited for `deadline` seconds, each forgotten as it is named.

        Others may come and go meanwhile.
        """
        oldest = self._loop.time() - deadline
        waited = takewhile(lambda waiting: waiting[1] <= oldest, self._since.items())
        for subscriber, since in list(waited):
            if self._since.get(subscriber) == since:
                del self._since[subscriber]
                yield subscriber

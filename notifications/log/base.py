"""What a log promises: one order of events, shared by every process, and no silent hole in it."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

from notifications.events import Event
from notifications.log.cursors import START, Cursor, Position


class ResetReason(StrEnum):
    """Why what follows a cursor is not known."""

    UNKNOWN = "unknown"
    """The cursor cannot be read, or is ahead of the log."""
    TRIMMED = "trimmed"
    """The log no longer reaches back that far."""
    LOG_LOST = "log_lost"
    """The log lost what it had: the cursor is of an earlier epoch."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept for replay: events, bytes, seconds, and seconds for idempotency keys."""

    events: int
    bytes: int
    age: int
    idempotency_age: int = 600


@dataclass(slots=True)
class Entry:
    """An event as the log holds it. Not frozen: a window holds 100,000, and freezing costs time.

    `skip`: the subjects that are passed over, though they hear one of its topics.
    """

    position: Position
    topics: tuple[str, ...]
    id: bytes
    type: bytes | None
    data: bytes
    is_text: bool
    retry: int | None
    skip: frozenset[str] | None = None

    @property
    def size(self) -> int:
        """Bytes, as retention counts them."""
        return len(self.data) + len(self.id) + sum(map(len, self.topics))


class Order(StrEnum):
    """What a control entry has every process do with the streams of its subjects."""

    END = "end"
    RECHECK = "recheck"


EVERYONE = "*"
"""The subject of all streams that somebody had to be allowed."""


@dataclass(frozen=True, slots=True)
class Control:
    """An entry that is no event: it reaches every process, and no subscriber.

    Subjects are names such as `user:5`, `key:3` or `topic:news`. `reason` is what the streams that
    end are told. With `topics`, streams that have none of them are not meant.
    """

    order: Order
    subjects: tuple[str, ...]
    reason: str
    position: Position = START
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything in the log after `prev` and up to `last`, which may be no event at all."""

    prev: Position
    last: Position
    entries: Sequence[Entry]
    controls: Sequence[Control] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """What follows is not known for certain. A tail ends with it: open the log anew."""

    reason: ResetReason


@dataclass(slots=True)
class Draft:
    """An event on its way into the log. Not frozen, as there are many.

    With a `key`, the event is appended unless that key was used in the last `IDEMPOTENCY_AGE`; the
    `fingerprint` tells a repetition from another event under the same key. Not `named` is one whose
    id was made for it alone, so that no other event ever has it. `skip` as in `Entry`.
    """

    event: Event
    key: str | None = None
    fingerprint: str = ""
    named: bool = True
    skip: Sequence[str] = ()


@dataclass(slots=True)
class Receipt:
    """The log has the event `id` at `cursor`; `duplicate` if it had it before this call."""

    id: str
    cursor: Cursor
    duplicate: bool = False


class Appender(ABC):
    """The log for synchronous code: any thread, any process, also after a fork."""

    @abstractmethod
    def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """As `Log.append`."""

    @abstractmethod
    def command(self, control: Control) -> Cursor:
        """Append a control entry, and say where it is. Raises `Unavailable`."""

    @abstractmethod
    def release(self, keys: Sequence[str], *, after: int) -> None:
        """Remember these idempotency keys for so many seconds at most. Raises `Unavailable`."""

    @abstractmethod
    def state(self) -> Cursor:
        """As `Log.state`."""

    @abstractmethod
    def read(self, *, after: Position, until: Position) -> Iterator[Batch]:
        """What follows one place, up to another, oldest first.

        A batch that does not join what came before it, or the first of them `after`, comes after a
        hole. Raises `Unavailable`.
        """


class Log(ABC):
    """The log, for one event loop. Entering it neither connects nor fails; leaving it closes all.

    Wherever the log cannot be reached, `state`, `append`, `read` and `ping` raise `Unavailable`
    after a bounded time; `tail` never does.
    """

    async def __aenter__(self) -> Self:
        return self

    @abstractmethod
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    @abstractmethod
    async def state(self) -> Cursor:
        """The epoch and the head. A log without an epoch is given one."""

    @abstractmethod
    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Append all, adjacent and in order, or none; a receipt for each, in order.

        Where an acknowledgement is lost on its way, the log finds out itself what became of the
        drafts, if it can be reached again in time; `Unavailable` says whether that is known.
        Raises `Conflict` (extension `index`) where a key was used with another fingerprint.
        """

    @abstractmethod
    def read(self, *, until: Position, after: Position = START) -> AsyncGenerator[Batch]:
        """The log after one place and up to another, oldest first, each batch joined to the last.

        Where the log has a hole, the batch after it begins a new run: its `prev` is not the `last`
        of the batch before. A hole at the end shows in the last batch, which ends before `until`.
        Batches are small: to hold one is to hold a few hundred events, or half a MiB.
        """

    @abstractmethod
    def tail(self, after: Cursor) -> AsyncGenerator[Batch | Gap]:
        """Everything appended after a cursor, as it comes, for ever, or until a `Gap`.

        While the log cannot be reached it waits, and then goes on where it was. Whatever it cannot
        vouch for (trimmed, flushed, lost in a failover, another epoch) is a `Gap`, never silence.
        """

    @abstractmethod
    async def ping(self) -> None:
        """The log took a write and gave it back."""

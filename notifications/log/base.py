"""What a log promises: one order of events, shared by every process, and no silent hole in it."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator, Sequence
from types import TracebackType
from typing import Self

from notifications.log.cursors import START, Cursor, Position
from notifications.log.entries import Batch, ControlEntry, Draft, Gap, Receipt


class Log(ABC):
    """The log, for one event loop. Entering it neither connects nor fails; leaving it closes all.

    `Unavailable` means that the log could not be reached within a bounded time.
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
        """Return the epoch and the head; a log without an epoch gets one.

        Raises `Unavailable`.
        """

    @abstractmethod
    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Append all drafts, adjacent and in order, or none; return a receipt for each, in order.

        Where an acknowledgement is lost on its way, the log itself finds out what became of the
        drafts, if it can be reached again in time. Raises `Unavailable`, whose text says whether
        that is known, and `Conflict` (extension `index`) where a key was used with another
        fingerprint.
        """

    @abstractmethod
    def read(self, *, until: Position, after: Position = START) -> AsyncGenerator[Batch]:
        """Yield the log after one position and up to another, oldest first.

        Each batch joins the batch before it: its `prev` is the `last` of that batch. Where the log
        has a hole, the batch after the hole begins a new run, so its `prev` differs. A hole at the
        end shows in the last batch, which ends before `until`. Batches are small: a few hundred
        events, or half a MiB. Raises `Unavailable`.
        """

    @abstractmethod
    def tail(self, after: Cursor) -> AsyncGenerator[Batch | Gap]:
        """Yield everything appended after a cursor, as it comes, for ever, or until a `Gap`.

        A log that cannot be reached raises nothing here: the tail waits, and then continues from
        its last position. Events that it cannot account for (trimmed, flushed, lost in a failover,
        another epoch) are a `Gap`, never silence.
        """

    @abstractmethod
    async def ping(self) -> None:
        """Write to the log and read it back. Raises `Unavailable`."""


class SyncLog(ABC):
    """The log for synchronous code: any thread, any process, also after a fork."""

    @abstractmethod
    def state(self) -> Cursor:
        """Do as `Log.state`."""

    @abstractmethod
    def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Do as `Log.append`."""

    @abstractmethod
    def append_control(self, control: ControlEntry) -> Cursor:
        """Append a control entry and return its position. Raises `Unavailable`."""

    @abstractmethod
    def release(self, keys: Sequence[str], *, after: int) -> None:
        """Forget these idempotency keys `after` so many seconds at most. Raises `Unavailable`."""

    @abstractmethod
    def read(self, *, after: Position, until: Position) -> Iterator[Batch]:
        """Yield the log after one position and up to another, oldest first.

        A batch whose `prev` is not the `last` of the batch before it (or, for the first batch, not
        `after`) comes after a hole. Raises `Unavailable`.
        """

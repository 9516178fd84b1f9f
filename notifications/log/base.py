"""What a log promises: one order of events, shared by every process, and no silent hole in it."""

from abc import abstractmethod
from collections.abc import AsyncGenerator, Iterator, Sequence
from types import TracebackType
from typing import Self

from notifications.log.cursors import START, Cursor, Position
from notifications.log.ended import StreamMemory
from notifications.log.entries import Batch, ControlEntry, Draft, Gap, Receipt
from notifications.log.reports import ReportBoard, ReportReader


class Log(StreamMemory, ReportBoard):
    """The log, for one event loop.

    Entering the log neither connects nor fails. Leaving it closes all its connections.

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

        If an acknowledgement is lost, this asks the log whether the drafts were appended, as long
        as there is time. Raises `Unavailable`, whose text says whether the outcome is known. Raises
        `Conflict` if a key was used with another fingerprint; its `extensions["index"]` is the
        number of that draft.
        """

    @abstractmethod
    def read(self, *, until: Position, after: Position = START) -> AsyncGenerator[Batch]:
        """Yield the log after one position and up to another, oldest first.

        Each batch joins the batch before it: its `prev` is the `last` of that batch, or `after` for
        the first batch. `prev` of the batch after a hole is not that position. If the hole is at
        the end, the last batch ends before `until`. Batches are small: a few hundred events, or
        half a MiB. Raises `Unavailable`.
        """

    @abstractmethod
    def tail(self, after: Cursor) -> AsyncGenerator[Batch | Gap]:
        """Yield everything appended after a cursor, as it comes.

        Only a `Gap` ends the tail, and it is the last item. A log that cannot be reached raises
        nothing here: the tail waits, and then continues from its last position. If events are
        missing (trimmed, flushed, lost in a failover, another epoch), the tail yields a `Gap`.
        """

    @abstractmethod
    async def ping(self) -> None:
        """Write to the log and read it back. Raises `Unavailable`."""


class SyncLog(ReportReader):
    """The log for synchronous code: any thread, any process, also after a fork."""

    @abstractmethod
    def state(self) -> Cursor:
        """As `Log.state`."""

    @abstractmethod
    def state_before(self, moment: float) -> Cursor | None:
        """A cursor that the log had reached by a moment of `time.monotonic`: the rest follows it.

        None if the log's own clock may not be read. Raises `Unavailable`.
        """

    @abstractmethod
    def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """As `Log.append`."""

    @abstractmethod
    def append_control(self, control: ControlEntry) -> Cursor:
        """Append a control entry and return its position. Raises `Unavailable`."""

    @abstractmethod
    def release(self, keys: Sequence[str], *, seconds: int) -> None:
        """Forget these idempotency keys within `seconds` seconds. Raises `Unavailable`."""

    @abstractmethod
    def read(self, *, until: Position, after: Position = START) -> Iterator[Batch]:
        """As `Log.read`, but batches may be larger."""

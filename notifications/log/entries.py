"""What the log holds and what it is given: events, control entries, batches, gaps, receipts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from secrets import token_hex

from notifications.events import Event
from notifications.log.cursors import START, Cursor, Position, parse_position
from notifications.log.records import Entry, Record


class ResetReason(StrEnum):
    """Why the log cannot say which events follow a cursor."""

    UNKNOWN = "unknown"
    """The cursor cannot be read, or is of no entry; or a stream has a cursor for each topic."""
    TRIMMED = "trimmed"
    """Retention has removed events that followed the cursor."""
    LOG_LOST = "log_lost"
    """The log lost its contents: the cursor belongs to an earlier epoch."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How much the log keeps for replay: events, bytes, and an age in seconds.

    `idempotency_age` is how many seconds it remembers an idempotency key, and `revocation_age` how
    many it remembers whom a control entry has named.
    """

    events: int
    bytes: int
    age: int
    idempotency_age: int = 600
    revocation_age: float = 1800


class ControlAction(StrEnum):
    """What a control entry orders every process to do."""

    END = "end"
    RECHECK = "recheck"
    REPORT = "report"
    """Its reason is a question, which each process answers by a report."""


EVERYONE = "*"
"""The subject of every stream that needed a permission."""


@dataclass(frozen=True, slots=True)
class ControlEntry:
    """An entry that is no event: it reaches every process, and no subscriber.

    Subjects are names such as `user:5`, `key:3` or `topic:news`. `reason` is the close reason that
    the ended streams give to their clients. With `topics`, the entry concerns only streams that
    subscribe to at least one of them. It concerns only streams of its `namespace`; but everyone
    without a namespace is everyone. By its `id` the log knows an entry that was sent again. `event`
    is the position of the last event before it, if the log says so.
    """

    action: ControlAction
    subjects: tuple[str, ...]
    reason: str
    position: Position = START
    topics: tuple[str, ...] = ()
    namespace: str = ""
    id: str = field(default_factory=lambda: token_hex(8), compare=False)
    event: Position = field(default=START, compare=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything in the log after `prev` and up to `last`; that may include no event at all."""

    prev: Position
    last: Position
    records: Sequence[Record]
    controls: Sequence[ControlEntry] = ()
    others: Sequence[tuple[Position, Position]] = ()  # ranges of what is no event

    @property
    def entries(self) -> list[Entry]:
        """Its events, all decoded."""
        return [Entry.of(record) for record in self.records]


@dataclass(frozen=True, slots=True)
class Gap:
    """The end of a tail: the log cannot say what follows, and its reader has to load it again."""

    reason: ResetReason


@dataclass(slots=True)
class Draft:
    """An event on its way into the log. Not frozen, for the reason of `Entry`.

    With a `key`, the event is appended unless that key was used before; that holds for as long as
    the log remembers keys. The `fingerprint` distinguishes a repetition from another event under
    the same key. Events that share a key have each a `part`, all of them: the log remembers parts
    one by one, and forgets the key as a whole. `named`: whether another draft may have the same id,
    as when the publisher chose it. False if the id was generated for this draft alone. `skip`: as
    in `Entry`, but like the topics without the `namespace`, which the log adds.
    """

    event: Event
    key: str | None = None
    fingerprint: str = ""
    named: bool = True
    skip: Sequence[str] = ()
    trace: str = ""
    namespace: str = ""
    part: str = ""


@dataclass(slots=True)
class Receipt:
    """The log has the event `id` at `cursor`. `duplicate`: the log had it before this call.

    Of a batch, hardly any cursor is needed but as a text.
    """

    id: str
    cursor_text: str
    duplicate: bool = False

    @property
    def cursor(self) -> Cursor:
        _, epoch, position = self.cursor_text.split(".")
        return Cursor(epoch, parse_position(position.encode()))

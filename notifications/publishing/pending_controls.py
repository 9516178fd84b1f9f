"""Control entries that wait for the log: those that order the same wait as one entry."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from notifications.conf import Settings
from notifications.log.entries import EVERYONE, ControlAction, ControlEntry

MAX_SUBJECTS = 1_000
"""Of one entry. A recheck of more subjects is a recheck of everyone."""

type _Order = tuple[ControlEntry, Settings]
"""An entry without its subjects, and the settings that name its log."""


@dataclass(slots=True)
class Pending:
    """One entry that waits, with the subjects of all that it stands for."""

    order: ControlEntry
    settings: Settings
    since: float
    subjects: dict[str, None] = field(default_factory=dict)

    @property
    def entry(self) -> ControlEntry:
        return replace(self.order, subjects=tuple(self.subjects))

    def join(self, entry: ControlEntry, now: float) -> bool:
        """Stand for this entry too. False if that makes it too large."""
        new = [subject for subject in entry.subjects if subject not in self.subjects]
        if len(self.subjects) + len(new) > MAX_SUBJECTS or EVERYONE in entry.subjects:
            if entry.action is not ControlAction.RECHECK:
                return False
            self.subjects, new = {EVERYONE: None}, []
        if EVERYONE not in self.subjects:
            self.subjects.update(dict.fromkeys(new))
        self.since = now
        return True


class PendingControls:
    """The entries in the order in which the first of each was added. Not safe between threads.

    An entry that is being appended may be in the log already, at a moment before a new change. So
    only those that nobody has taken stand for more.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: deque[Pending] = deque()
        self._joinable: dict[_Order, Pending] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, entry: ControlEntry, settings: Settings) -> bool:
        """Let an entry that waits stand for this one too. False if there is none that can."""
        pending = self._joinable.get(_order(entry, settings))
        return pending is not None and pending.join(entry, self._clock())

    def add(self, entry: ControlEntry, settings: Settings) -> None:
        pending = Pending(replace(entry, subjects=()), settings, self._clock())
        if not pending.join(entry, pending.since):
            pending.subjects = dict.fromkeys(entry.subjects)
        self._waiting.append(pending)
        self._joinable[_order(entry, settings)] = pending

    def take(self) -> Pending:
        """The first entry, which waits on until `done`, and from now on stands for no more."""
        pending = self._waiting[0]
        order = (pending.order, pending.settings)
        if self._joinable.get(order) is pending:
            del self._joinable[order]
        return pending

    def done(self) -> None:
        """The first entry waits no longer."""
        self._waiting.popleft()


def _order(entry: ControlEntry, settings: Settings) -> _Order:
    return replace(entry, subjects=()), settings

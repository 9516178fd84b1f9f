"""The part of the log that this process holds: the retained events, indexed by topic."""

import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from heapq import merge
from operator import attrgetter

from notifications.log.base import Batch, Entry, Retention
from notifications.log.cursors import START, Position, position, position_ms

_by_position = attrgetter("position")
STEP = 1_000
_GONE = Entry(START, (), b"", None, b"", is_text=True, retry=None)


class Window:
    """Every event after `floor` and up to `head`, oldest first.

    Entries are numbered in the order they came; a topic's index is the numbers of its entries. What
    is trimmed leaves the indexes when they are next compacted, at most once per entry.
    """

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self.restart(START)

    def restart(self, head: Position) -> None:
        """Forget everything: the window begins after `head`."""
        self.floor = head
        self.head = head
        self.size = 0
        self._entries: list[Entry] = []
        self._base = 0  # the number of self._entries[0]
        self._first = 0  # where the oldest entry is in self._entries
        self._topics: dict[str, array[int]] = {}

    def __len__(self) -> int:
        return len(self._entries) - self._first

    @property
    def span(self) -> float:
        """Seconds since the oldest event that is held; 0 without any."""
        if not len(self):
            return 0.0
        return max(0.0, time.time() - position_ms(self._entries[self._first].position) / 1000)

    def append(self, batch: Batch) -> None:
        """Take a batch; one that does not join what is held begins the window anew."""
        if batch.prev != self.head:
            self.restart(batch.prev)
        for entry in batch.entries:
            number = self._base + len(self._entries)
            self._entries.append(entry)
            for topic in entry.topics:
                index = self._topics.get(topic)
                if index is None:
                    index = self._topics[topic] = array("Q")
                index.append(number)
            self.size += entry.size
        self.head = batch.last
        self.trim(now_ms=position_ms(self.head), most=STEP + 2 * len(batch.entries))

    def trim(self, *, now_ms: int, most: int = STEP) -> bool:
        """Let go of what retention does not keep, in steps: whether there is more of it.

        `now_ms` is by the clock of the log.
        """
        oldest = position(max(0, now_ms - self._retention.age * 1000))
        surplus = len(self) - self._retention.events
        more = self._first < len(self._entries)
        while more:
            entry = self._entries[self._first]
            kept = surplus <= 0 and self.size <= self._retention.bytes
            more = not (kept and entry.position >= oldest)
            if not more or not most:
                break
            self._drop(entry)
            surplus -= 1
            most -= 1
            more = self._first < len(self._entries)
        if self._first > len(self) + STEP:
            del self._entries[: self._first]
            self._base += self._first
            self._first = 0
        return more

    def dismantle(self) -> bool:
        """For a window that is no longer in use: free some of it. Whether there is more.

        To free all of a long history at once takes long.
        """
        del self._entries[-STEP:]
        for _ in range(min(STEP, len(self._topics))):
            self._topics.popitem()
        return bool(self._entries or self._topics)

    def _drop(self, entry: Entry) -> None:
        number = self._base + self._first
        for topic in entry.topics:
            index = self._topics[topic]
            if index[-1] == number:
                del self._topics[topic]
            elif len(index) > 64 and index[len(index) // 2] <= number:
                del index[: len(index) // 2]
        self._entries[self._first] = _GONE
        self._first += 1
        self.size -= entry.size
        self.floor = entry.position

    def covers(self, place: Position) -> bool:
        """Whether everything that follows the place is known."""
        return self.floor <= place <= self.head

    def place_at(self, ms: int) -> Position:
        """The place before the first event of that time or later: the floor, if all are."""
        at = self._after(Position(position(ms) - 1))
        if at == self._first:
            return self.floor
        before = self._entries[at - 1]
        return before.position

    def following(self, topics: Iterable[str], after: Position) -> Iterator[Entry]:
        """The events of these topics after the place, in order, each once.

        It reads the window as it is now: use it before the window changes.
        """
        start = self._base + self._after(after)
        runs = []
        for topic in topics:
            index = self._topics.get(topic)
            if index is not None and index[-1] >= start:
                runs.append(_tail_of(index, bisect_left(index, start)))
        numbers = runs[0] if len(runs) == 1 else merge(*runs)
        previous = -1
        for number in numbers:
            if number != previous:
                previous = number
                entry = self._entries[number - self._base]
                yield entry

    def about(self, topics: Iterable[str], after: Position) -> int:
        """How many `following` gives, but for those of several of the topics, counted for each."""
        start = self._base + self._after(after)
        indexes = [self._topics[topic] for topic in topics if topic in self._topics]
        return sum(len(index) - bisect_left(index, start) for index in indexes)

    def _after(self, place: Position) -> int:
        return bisect_right(self._entries, place, lo=self._first, key=_by_position)


def _tail_of(index: "array[int]", first: int) -> Iterator[int]:
    """A slice without the copy: a laggard asks for one chunk of what may be a long history."""
    return (index[i] for i in range(first, len(index)))

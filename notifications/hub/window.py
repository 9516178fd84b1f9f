"""The window: the part of the log that this process holds in memory, indexed by topic."""

import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from itertools import accumulate
from operator import itemgetter

from notifications.hub.positions import OtherPositions
from notifications.log.cursors import START, Position, make_position, position_ms
from notifications.log.entries import Batch, Retention
from notifications.log.records import Entry, Record, record_size

REMOVED_PER_STEP = 1_000
"""The most entries that one step removes, besides twice as many as it adds: it must be short."""
_by_position = itemgetter(0)
_REMOVED: Record = (START, (), b"")


class Window:
    """Every event after `floor` and up to `head`, oldest first.

    Entries are numbered in the order in which they came, and the index of a topic holds the numbers
    of its entries. An index still holds the numbers of some removed entries. They are deleted by
    halves of the index, so the cost for each entry is constant.
    """

    def __init__(
        self, retention: Retention, *, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._retention = retention
        self._wall_clock = wall_clock
        self.restart(START)

    def restart(self, head: Position) -> None:
        """Forget every event: the window now starts after `head`."""
        self.floor = head
        self.head = head
        self.size = 0
        """Bytes, as retention counts them."""
        self._records: list[Record] = []
        self._base = 0  # the number of self._records[0]
        self._first = 0  # the index of the oldest entry in self._records
        self._topics: dict[str, array[int]] = {}
        self._others = OtherPositions()

    def __len__(self) -> int:
        return len(self._records) - self._first

    @property
    def span(self) -> float:
        """Seconds since the oldest event that the window holds; 0 without any."""
        if not len(self):
            return 0.0
        oldest_ms = position_ms(self._records[self._first][0])
        return max(0.0, self._wall_clock() - oldest_ms / 1000)

    @property
    def topics(self) -> list[str]:
        return list(self._topics)

    # What comes and goes

    def append(self, batch: Batch) -> None:
        """Add a batch. One that does not follow the head, after a hole, restarts the window."""
        if batch.prev != self.head:
            self.restart(batch.prev)
        indexes, size = self._topics, self.size  # as in `record_size`, which takes longer
        for number, (_, topics, content) in enumerate(
            batch.records, self._base + len(self._records)
        ):
            size += len(content)
            for topic in topics:
                size += len(topic)
                index = indexes.get(topic)
                if index is None:
                    index = indexes[topic] = array("Q")
                index.append(number)
        self.size = size
        self._records += batch.records
        self.head = batch.last
        self._others.add(batch)
        self.trim(now_ms=position_ms(self.head), most=REMOVED_PER_STEP + 2 * len(batch.records))

    def trim(self, *, now_ms: int, most: int = REMOVED_PER_STEP) -> bool:
        """Remove up to `most` events that retention does not keep. Returns whether more are left.

        `now_ms` is a time by the clock of the log.
        """
        oldest = make_position(max(0, now_ms - self._retention.age * 1000))
        held = len(self)
        surplus = held - self._retention.events
        if held and self._records[self._first][0] < oldest:
            old = bisect_left(self._records, oldest, lo=self._first, key=_by_position)
            surplus = max(surplus, old - self._first)
        if self.size > self._retention.bytes:
            surplus = max(surplus, self._count_oversize(most + 1))
        if surplus > 0 and most:
            self._remove_oldest(min(surplus, most))
        return surplus > most

    def _count_oversize(self, most: int) -> int:
        """How many events, up to `most`, have to go before the others fit into the bytes."""
        excess = self.size - self._retention.bytes
        sizes = accumulate(map(record_size, self._records[self._first : self._first + most]))
        return next((count for count, size in enumerate(sizes, 1) if size >= excess), most)

    def dismantle(self) -> bool:
        """Free a part, since all at once would take too long, and return whether more is left."""
        del self._records[-REMOVED_PER_STEP:]
        for _ in range(min(REMOVED_PER_STEP, len(self._topics))):
            self._topics.popitem()
        return bool(self._records or self._topics)

    def _remove_oldest(self, count: int) -> None:
        """Remove so many events, with one step for all that have the same topics."""
        end = self._first + count
        removed = self._records[self._first : end]
        self._records[self._first : end] = [_REMOVED] * count
        self._first = end
        self.floor = removed[-1][0]
        times: dict[tuple[str, ...], int] = {}
        for _, topics, content in removed:
            self.size -= len(content)
            times[topics] = times.get(topics, 0) + 1
        for topics, number in times.items():
            for topic in topics:
                self.size -= number * len(topic)
                self._shorten_index(topic)
        if self._first > len(self) + REMOVED_PER_STEP:
            del self._records[: self._first]
            self._base += self._first
            self._first = 0
        self._others.forget(self.floor)

    def _shorten_index(self, topic: str) -> None:
        index, oldest = self._topics.get(topic), self._base + self._first
        if index is None or index[-1] < oldest:  # none: it went with an event of more topics
            self._topics.pop(topic, None)
            return
        while len(index) > 64 and index[len(index) // 2] < oldest:
            del index[: len(index) // 2]

    # What it answers

    def holds(self, position: Position) -> bool:
        """Whether the log has or had an entry there: any, outside of the window."""
        index = self._index_after(position)
        is_event = index > self._first and self._records[index - 1][0] == position
        is_inside = self.floor < position < self.head
        return is_event or not is_inside or self._others.has(position)

    def position_before(self, ms: int) -> Position:
        """The position after which the events from `ms` on follow.

        It is that of the last earlier event, or the floor if the window has no earlier event.
        """
        index = self._index_after(Position(make_position(ms) - 1))
        if index == self._first:
            return self.floor
        return self._records[index - 1][0]

    def position_before_last(self, count: int, topics: Iterable[str]) -> Position:
        """The position after which the last `count` events of these topics follow; or the head."""
        oldest = self._base + self._first
        newest_first = merge(
            *(reversed(self._topics[topic]) for topic in topics if topic in self._topics),
            reverse=True,
        )
        number = None
        for candidate in newest_first:
            if candidate < oldest or not count:
                break
            if candidate != number:
                number = candidate
                count -= 1
        if number is None:
            return self.head
        return self.floor if number == oldest else self._records[number - self._base - 1][0]

    def following(self, topics: Iterable[str], after: Position) -> Iterator[Entry]:
        """The events of these topics after the position, in order, each once, and decoded.

        The iterator reads the window as it is now: use it up before the window changes.
        """
        start = self._base + self._index_after(after)
        runs = []
        for topic in topics:
            index = self._topics.get(topic)
            if index is not None and index[-1] >= start:
                runs.append(_from_index(index, bisect_left(index, start)))
        numbers = runs[0] if len(runs) == 1 else merge(*runs)
        previous = -1
        for number in numbers:
            if number != previous:
                previous = number
                yield Entry.of(self._records[number - self._base])

    def estimate_following(self, topics: Iterable[str], after: Position) -> int:
        """An upper bound of what `following` yields: an event counts for each of its topics."""
        start = self._base + self._index_after(after)
        indexes = [self._topics[topic] for topic in topics if topic in self._topics]
        return sum(len(index) - bisect_left(index, start) for index in indexes)

    def _index_after(self, position: Position) -> int:
        return bisect_right(self._records, position, lo=self._first, key=_by_position)


def _from_index(index: "array[int]", first: int) -> Iterator[int]:
    """A slice without a copy: a slow subscriber takes one chunk of what may be a long history."""
    return (index[i] for i in range(first, len(index)))

"""The checker: it compares what subscribers received with what publishers were acknowledged."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from notifications.log.cursors import Cursor, Position
from notifications.sse import ServerSentEvent

type Outcome = Literal["acknowledged", "unknown", "not_sent"]


@dataclass
class Publication:
    """One event with data that no other event has, and the outcome of publishing it."""

    topic: str
    data: str
    outcome: Outcome = "unknown"
    cursor: Cursor | None = None
    acknowledged_at: float = 0.0
    """By `time.monotonic`."""
    repeated: bool = False
    """It was sent again, so the acknowledgement may name a position from long before."""


@dataclass
class Stretch:
    """The events that a subscriber received between two resets: after `first`, up to `last`."""

    epoch: str
    first: Position
    last: Position
    events: dict[Position, str] = field(default_factory=dict)


@dataclass
class Observation:
    """All that one subscriber of some topics received, over all its connections."""

    name: str
    topics: frozenset[str]
    stretches: list[Stretch] = field(default_factory=list)
    resets: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    @property
    def cursor(self) -> Cursor | None:
        """The subscriber's position."""
        if not self.stretches:
            return None
        return Cursor(self.stretches[-1].epoch, self.stretches[-1].last)

    def forget(self) -> None:
        """Drop the events, resets and violations so far, and keep the position."""
        if self.cursor is not None:
            self._begin(self.cursor)
            del self.stretches[:-1]
        self.resets.clear()
        self.violations.clear()

    def receive(self, event: ServerSentEvent) -> None:
        """Add the next block of the stream."""
        if event.type == "stream.closing":
            return
        cursor = Cursor.parse(event.id)
        if event.type == "stream.reset":
            self.resets.append(json.loads(event.data)["reason"])
            self._begin(cursor)
        elif not self.stretches:
            self._begin(cursor)
        if event.type.startswith("stream."):
            self._move(cursor, least=self.stretches[-1].last)
        elif self._move(cursor, least=Position(self.stretches[-1].last + 1)):
            self.stretches[-1].events[cursor.position] = event.data

    def _begin(self, cursor: Cursor) -> None:
        self.stretches.append(Stretch(cursor.epoch, cursor.position, cursor.position))

    def _move(self, cursor: Cursor, *, least: Position) -> bool:
        current = self.stretches[-1]
        if cursor.epoch != current.epoch:
            self.violations.append(f"{cursor} follows the epoch {current.epoch} without a reset")
            return False
        if cursor.position < least:
            self.violations.append(f"{cursor} comes after {Cursor(current.epoch, current.last)}")
            return False
        current.last = cursor.position
        return True


def violations(published: Iterable[Publication], observation: Observation) -> list[str]:
    """Each broken promise in one line; an empty list if all were kept."""
    relevant = [each for each in published if each.topic in observation.topics]
    found = [
        *observation.violations,
        *_missing(relevant, observation),
        *_unexpected(relevant, observation),
    ]
    return [f"{observation.name}: {violation}" for violation in found]


def _missing(published: list[Publication], observation: Observation) -> list[str]:
    """Events that were acknowledged, and neither received nor covered by a reset."""
    return [
        f"{each.data!r} was acknowledged at {each.cursor} and is missing"
        for each in published
        if each.cursor is not None
        for stretch in observation.stretches
        if stretch.epoch == each.cursor.epoch
        and stretch.first < each.cursor.position <= stretch.last
        and stretch.events.get(each.cursor.position) != each.data
    ]


def _unexpected(published: list[Publication], observation: Observation) -> list[str]:
    """Events received twice, or at another position than acknowledged, or though refused."""
    known = {each.data: each for each in published}
    found = []
    first_positions: dict[tuple[str, str], Position] = {}
    for stretch in observation.stretches:
        for position, data in stretch.events.items():
            first = first_positions.setdefault((stretch.epoch, data), position)
            publication = known.get(data)
            at = Cursor(stretch.epoch, position)
            if first != position:
                found.append(f"{data!r} came twice, at {Cursor(stretch.epoch, first)} and {at}")
            elif publication is None:
                found.append(f"{data!r} at {at} was never published")
            elif publication.outcome == "not_sent":
                found.append(f"{data!r} at {at} was reported as not sent")
            elif _is_elsewhere(publication.cursor, at):
                found.append(f"{data!r} at {at} was acknowledged at {publication.cursor}")
    return found


def _is_elsewhere(acknowledged: Cursor | None, at: Cursor) -> bool:
    """An event that one epoch lost and the next one got again has a position in each epoch."""
    same_epoch = acknowledged is not None and acknowledged.epoch == at.epoch
    return same_epoch and acknowledged != at


def last_position(published: Iterable[Publication]) -> Cursor:
    """The last position at which an event is known to be."""
    acknowledged = [each for each in published if each.cursor is not None]
    newest = max(acknowledged, key=lambda each: (not each.repeated, each.acknowledged_at)).cursor
    assert newest is not None
    cursors = [each.cursor for each in acknowledged if each.cursor is not None]
    return max(
        (each for each in cursors if each.epoch == newest.epoch), key=lambda each: each.position
    )

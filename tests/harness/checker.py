"""Compares what a subscriber was told, over all its connections, with what was acknowledged."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from notifications.log.cursors import Cursor, Position
from notifications.sse import ServerSentEvent

type Outcome = Literal["acknowledged", "unknown", "not_sent"]


@dataclass
class Publication:
    """One event, whose data no other has, and what became of it. Until that is known: unknown."""

    topic: str
    data: str
    outcome: Outcome = "unknown"
    cursor: Cursor | None = None
    when: float = 0.0
    """It was acknowledged, by `time.monotonic`."""
    repeated: bool = False
    """It was sent again, and so may be acknowledged with a place that it had long before."""


@dataclass
class Stretch:
    """What a subscriber was told between two resets: all there was after `first`, up to `last`."""

    epoch: str
    first: Position
    last: Position
    heard: dict[Position, str] = field(default_factory=dict)


@dataclass
class Heard:
    """All that one subscriber of some topics was told, however often it came back."""

    name: str
    topics: frozenset[str]
    stretches: list[Stretch] = field(default_factory=list)
    resets: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def cursor(self) -> Cursor | None:
        """What it comes back with."""
        if not self.stretches:
            return None
        return Cursor(self.stretches[-1].epoch, self.stretches[-1].last)

    def forget(self) -> None:
        """What it was told so far, but not where it is."""
        if self.cursor is not None:
            self._begin(self.cursor)
            del self.stretches[:-1]
        self.resets.clear()
        self.wrong.clear()

    def told(self, event: ServerSentEvent) -> None:
        """Take the next block of the stream."""
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
            self.stretches[-1].heard[cursor.position] = event.data

    def _begin(self, cursor: Cursor) -> None:
        self.stretches.append(Stretch(cursor.epoch, cursor.position, cursor.position))

    def _move(self, cursor: Cursor, *, least: Position) -> bool:
        now = self.stretches[-1]
        if cursor.epoch != now.epoch:
            self.wrong.append(f"{cursor} follows the epoch {now.epoch} without a reset")
            return False
        if cursor.position < least:
            self.wrong.append(f"{cursor} comes after {Cursor(now.epoch, now.last)}")
            return False
        now.last = cursor.position
        return True


def violations(published: Iterable[Publication], heard: Heard) -> list[str]:
    """What must not be, in words: nothing, if all is well."""
    concerned = [each for each in published if each.topic in heard.topics]
    wrong = heard.wrong + _missing(concerned, heard) + _not_due(concerned, heard)
    return [f"{heard.name}: {each}" for each in wrong]


def _missing(published: list[Publication], heard: Heard) -> list[str]:
    """What was acknowledged, and neither told nor covered by a reset."""
    return [
        f"{each.data!r} was acknowledged at {each.cursor} and is missing"
        for each in published
        if each.cursor is not None
        for stretch in heard.stretches
        if stretch.epoch == each.cursor.epoch
        and stretch.first < each.cursor.position <= stretch.last
        and stretch.heard.get(each.cursor.position) != each.data
    ]


def _not_due(published: list[Publication], heard: Heard) -> list[str]:
    """What was told twice, elsewhere than acknowledged, or though it was refused."""
    known = {each.data: each for each in published}
    wrong = []
    seen: dict[tuple[str, str], Position] = {}
    for stretch in heard.stretches:
        for place, data in stretch.heard.items():
            before = seen.setdefault((stretch.epoch, data), place)
            publication = known.get(data)
            at = Cursor(stretch.epoch, place)
            if before != place:
                wrong.append(f"{data!r} came twice, at {Cursor(stretch.epoch, before)} and {at}")
            elif publication is None:
                wrong.append(f"{data!r} at {at} was never published")
            elif publication.outcome == "not_sent":
                wrong.append(f"{data!r} at {at} was said not to have been sent")
            elif _is_elsewhere(publication.cursor, at):
                wrong.append(f"{data!r} at {at} was acknowledged at {publication.cursor}")
    return wrong


def _is_elsewhere(acknowledged: Cursor | None, at: Cursor) -> bool:
    """Of one that an epoch lost, and the next got again, each epoch has its own place."""
    same = acknowledged is not None and acknowledged.epoch == at.epoch
    return same and acknowledged != at


def last_of(published: Iterable[Publication]) -> Cursor:
    """The last place of which it is known that something is there."""
    acknowledged = [each for each in published if each.cursor is not None]
    newest = max(acknowledged, key=lambda each: (not each.repeated, each.when)).cursor
    assert newest is not None
    cursors = [each.cursor for each in acknowledged if each.cursor is not None]
    return max(
        (each for each in cursors if each.epoch == newest.epoch), key=lambda each: each.position
    )

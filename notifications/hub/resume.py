"""Places: where in the window a stream goes on from."""

from collections.abc import Mapping

from notifications.errors import Invalid
from notifications.hub.subscribers import Start, Subscriber
from notifications.hub.window import Window
from notifications.log.base import ResetReason
from notifications.log.cursors import Cursor, Position
from notifications.telemetry.counters import process_counters


def place_of(start: Start, window: Window, epoch: str) -> tuple[Position, ResetReason | None]:
    """Where a stream goes on from. A cursor ahead of this process is taken at its word."""
    head = window.head
    if start.since_ms is not None:
        return window.place_at(start.since_ms), None
    if start.cursor is None:
        return head, None
    cursor = start.cursor
    if isinstance(cursor, str):
        try:
            cursor = Cursor.parse(cursor)
        except Invalid:
            return head, ResetReason.UNKNOWN
    if cursor.epoch != epoch:
        return head, ResetReason.LOG_LOST
    if cursor.position < window.floor:
        return head, ResetReason.TRIMMED
    return cursor.position, None


# Beginnings: where a stream goes on whose topics each bring a cursor of their own.


def by_topic(
    cursors: Mapping[str, Cursor | None], head: Cursor, floor: Position
) -> tuple[Position, dict[str, Position], list[str]]:
    """The place to go on from, the first place of each topic that begins later, and who is lost.

    A topic is lost, and begins at the head, where what follows its cursor is not known. Ahead of
    this process a cursor is taken at its word, but only if it is that of all topics: a stream has
    one place, and what it had of one topic must neither be repeated nor held back for the others.
    """
    alone = len(set(cursors.values())) == 1
    known = {
        topic: cursor.position
        for topic, cursor in cursors.items()
        if cursor is not None
        and cursor.epoch == head.epoch
        and cursor.position >= floor
        and (alone or cursor.position <= head.position)
    }
    lost = [topic for topic in cursors if topic not in known]
    places = {topic: known.get(topic, head.position) for topic in cursors}
    place = min(places.values())
    later = {topic: Position(each + 1) for topic, each in places.items() if each > place}
    return place, later, lost


# Replaying: what a subscriber that is behind is owed from the window.


def next_chunk(subscriber: Subscriber, window: Window, epoch: str, *, room: int) -> bytes:
    """What follows its position, at most `room` bytes or one event; nothing, if that is all.

    It has been handed over by then: its position is after it, and once there is no more, it is not
    behind any longer.
    """
    topics, encoder, since = (
        subscriber.audience.topics,
        subscriber.audience.encoder,
        subscriber.since,
    )
    if since:
        encoder = encoder.beginning(since)
    pieces: list[bytes] = []
    for entry in window.following(topics, subscriber.position):
        if (since or entry.skip) and not subscriber.may_have(entry):
            continue
        block = encoder.event(epoch, entry, topics)
        room -= len(block)
        if pieces and room < 0:
            return b"".join(pieces)
        pieces.append(block)
        process_counters.delivered += 1
        subscriber.position = entry.position
    subscriber.position = max(subscriber.position, window.head)
    subscriber.behind = False
    subscriber.since = None  # what follows is live
    return b"".join(pieces)

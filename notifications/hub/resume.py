"""Resuming: where in the log a stream starts, and what it gets from there."""

from collections.abc import Collection, Mapping

from notifications.errors import Invalid
from notifications.hub.payloads import MAX_CHUNK_BYTES
from notifications.hub.subscribers import Start, Subscriber
from notifications.hub.window import Window
from notifications.log.cursors import Cursor, Position
from notifications.log.entries import ResetReason
from notifications.telemetry.counters import process_counters


def resolve_start(
    start: Start, topics: Collection[str], window: Window, epoch: str
) -> tuple[Position, ResetReason | None]:
    """The position after which a stream of these topics starts; and the reason of a reset, or None.

    A cursor ahead of this process is accepted for now, since another process may have read further;
    `verify_cursor` asks the log.
    """
    head = window.head
    if start.since_ms is not None:
        return window.position_before(start.since_ms), None
    if start.last:
        return window.position_before_last(start.last, topics), None
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
    if not window.holds(cursor.position):
        return head, ResetReason.UNKNOWN
    return cursor.position, None


def resolve_topic_starts(
    cursors: Mapping[str, Cursor | None], head: Cursor, window: Window
) -> tuple[Position, dict[str, Position], list[str]]:
    """As `resolve_start`, for a stream that has a cursor for each topic.

    Returns the position after which the stream starts, the first position of each topic that starts
    later, and the topics that are lost. A topic is lost, and starts at the head, if the events
    after its cursor are not known.

    A cursor ahead of this process is accepted only if all topics have the same cursor. A stream has
    one position: if that were ahead for one topic, the other topics would miss events; if it were
    not, this topic's events would be sent twice.
    """
    same_for_all = len(set(cursors.values())) == 1
    known = {
        topic: cursor.position
        for topic, cursor in cursors.items()
        if cursor is not None
        and cursor.epoch == head.epoch
        and cursor.position >= window.floor
        and window.holds(cursor.position)
        and (same_for_all or cursor.position <= head.position)
    }
    lost = [topic for topic in cursors if topic not in known]
    starts = {topic: known.get(topic, head.position) for topic in cursors}
    position = min(starts.values())
    later = {topic: Position(start + 1) for topic, start in starts.items() if start > position}
    return position, later, lost


def take_opening(
    subscriber: Subscriber,
    window: Window,
    epoch: str,
    reset: ResetReason | None,
    lost: Collection[str],
    denied: Collection[str],
    user: str = "",
) -> bytes:
    """The opening blocks, and as much of the backlog as fits into the same payload.

    `user`: that of the page, for the opening to repeat.
    """
    at = Cursor(epoch, subscriber.position)
    encoder = subscriber.audience.encoder
    if user:
        opening = encoder.opening_of_page(user, at, reset)
    else:
        opening = encoder.for_limited_history(subscriber.since or {}).opening(at, reset, lost)
    if denied:
        opening += encoder.denied(at, denied)
    if reset:
        process_counters.resets[reset] += 1
    if at.position < window.head:
        subscriber.fall_behind(at.position)
        opening += take_backlog(subscriber, window, epoch, room=MAX_CHUNK_BYTES - len(opening))
    return opening


def take_backlog(subscriber: Subscriber, window: Window, epoch: str, *, room: int) -> bytes:
    """The events after the subscriber's position: at most `room` bytes, or one larger event.

    The subscriber moves on as if it had them already: the caller hands them over in the same step
    of the event loop. If nothing is left, the subscriber has caught up.
    """
    topics, encoder, since = (
        subscriber.audience.topics,
        subscriber.audience.encoder,
        subscriber.since,
    )
    if since:
        encoder = encoder.for_limited_history(since)
    position = subscriber.position
    blocks: list[bytes] = []
    for entry in window.following(topics, position):
        if (since or entry.skip) and not subscriber.may_receive(entry):
            continue
        block = encoder.event(epoch, entry, topics)
        if not block:
            continue
        room -= len(block)
        if blocks and room < 0:
            subscriber.advance(position)
            break
        blocks.append(block)
        position = entry.position
    else:
        subscriber.catch_up(window.head)
    process_counters.delivered += len(blocks)
    return b"".join(blocks)

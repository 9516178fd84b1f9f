"""Beginnings: where a stream goes on whose topics each bring a cursor of their own."""

from collections.abc import Mapping

from notifications.cursors import Cursor, Position


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

"""Replaying: what a subscriber that is behind is owed from the window."""

from notifications.subscribers import Subscriber
from notifications.tallies import tally
from notifications.window import Window


def next_chunk(subscriber: Subscriber, window: Window, epoch: str, *, room: int) -> bytes:
    """What follows its position, at most `room` bytes or one event; nothing, if that is all.

    It has been handed over by then: its position is after it, and once there is no more, it is not
    behind any longer.
    """
    topics, form, since = subscriber.audience.topics, subscriber.audience.form, subscriber.since
    if since:
        form = form.beginning(since)
    pieces: list[bytes] = []
    for entry in window.following(topics, subscriber.position):
        if (since or entry.skip) and not subscriber.may_have(entry):
            continue
        block = form.event(epoch, entry, topics)
        room -= len(block)
        if pieces and room < 0:
            return b"".join(pieces)
        pieces.append(block)
        tally.delivered += 1
        subscriber.position = entry.position
    subscriber.position = max(subscriber.position, window.head)
    subscriber.behind = False
    subscriber.since = None  # what follows is live
    return b"".join(pieces)

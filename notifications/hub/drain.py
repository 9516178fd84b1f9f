"""Closing every stream of a process so that not all their browsers return at the same time."""

import asyncio
from collections.abc import Iterable

from notifications.hub.hub import Hub
from notifications.hub.subscribers import CloseReason, Subscriber
from notifications.telemetry.logs import logger
from notifications.transport.pollers import close_sockets

POLL_SECONDS = 0.05
GRACE_SECONDS = 1.0


async def drain(
    hub: Hub,
    *,
    over: float,
    poll_seconds: float = POLL_SECONDS,
    grace_seconds: float = GRACE_SECONDS,
) -> None:
    """Close every stream in random order, spread evenly over `over` seconds.

    A busy transport takes no closing block: such a stream has until `grace_seconds` after the end
    to become free, and is then aborted.
    """
    clock, random = hub.timing.clock, hub.timing.random
    members = hub.subscribers
    random.shuffle(members)
    count, streams = len(members), _Streams(hub, members)
    del members
    hub.on_leave.append(streams.forget)
    try:
        logger.info("drain.started", streams=count, seconds=over)
        start = clock()
        for number in range(count):
            due = start + over * (number + random.random()) / count
            if due > clock() + poll_seconds or number % 100 == 99:
                await asyncio.sleep(max(0.0, due - clock()))
            streams.close_next()
        deadline = clock() + grace_seconds
        while len(streams) and clock() < deadline:
            await asyncio.sleep(poll_seconds)
            streams.close_free()
        logger.info("drain.finished", streams=count, cut=len(streams))
        streams.cut()
    finally:
        hub.on_leave.remove(streams.forget)


class _Streams:
    """The streams that are still to be closed. It refers to none that has ended."""

    def __init__(self, hub: Hub, members: Iterable[Subscriber]) -> None:
        self._hub = hub
        self._waiting = dict.fromkeys(members)
        self._busy: dict[Subscriber, None] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._busy)

    def forget(self, subscriber: Subscriber, _: CloseReason) -> None:
        self._waiting.pop(subscriber, None)
        self._busy.pop(subscriber, None)

    def close_next(self) -> None:
        if self._waiting:
            subscriber, _ = self._waiting.popitem()
            if subscriber.transport.busy:
                self._busy[subscriber] = None
            else:
                self._hub.close(subscriber, CloseReason.DRAINING)

    def close_free(self) -> None:
        """Close the streams that were busy and no longer are."""
        for subscriber in list(self._busy):
            if not subscriber.transport.busy:
                self._hub.close(subscriber, CloseReason.DRAINING)

    def cut(self) -> None:
        """Close the streams that are still busy."""
        for subscriber in list(self._busy):
            self._hub.close(subscriber, CloseReason.DRAINING)


async def close_all(hub: Hub, reason: CloseReason) -> None:
    """Close every stream now, and return when their sockets are closed."""
    time_slice = hub.timing.time_slice()
    for member in hub.subscribers:
        hub.close(member, reason)
        if time_slice.expired:
            await time_slice.pause()
    await close_sockets()

"""Closing every stream of a process so that not all their browsers return at the same time."""

import asyncio
import logging

from notifications.hub.hub import Hub
from notifications.hub.subscribers import CloseReason, Subscriber

logger = logging.getLogger("carillon")

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
    logger.info("drain.started streams=%d seconds=%g", len(members), over)
    start = clock()
    for number, member in enumerate(members):
        due = start + over * (number + random.random()) / len(members)
        if due > clock() + poll_seconds or number % 100 == 99:
            await asyncio.sleep(max(0.0, due - clock()))
        _close_unless_busy(hub, member)
    deadline = clock() + grace_seconds
    while (busy := [member for member in members if member.open]) and clock() < deadline:
        await asyncio.sleep(poll_seconds)
        for member in busy:
            _close_unless_busy(hub, member)
    for member in busy:
        hub.close(member, CloseReason.DRAINING)
    logger.info("drain.finished streams=%d cut=%d", len(members), len(busy))


async def close_all(hub: Hub, reason: CloseReason) -> None:
    """Close every stream now."""
    time_slice = hub.timing.time_slice()
    for member in hub.subscribers:
        hub.close(member, reason)
        if time_slice.expired:
            await time_slice.pause()


def _close_unless_busy(hub: Hub, member: Subscriber) -> None:
    if not member.transport.busy:
        hub.close(member, CloseReason.DRAINING)

"""Closing every stream of a process without having all their browsers come back at once."""

import asyncio
import logging
import random

from notifications.hub.hub import Hub
from notifications.hub.scheduling import TimeSlice
from notifications.hub.subscribers import CloseReason, Subscriber

logger = logging.getLogger("carillon")

SLICE = 0.05
GRACE = 1.0


async def drain(hub: Hub, *, over: float) -> None:
    """Tell every stream that it ends, evenly spread over so many seconds, in random order.

    One whose wire is busy then cannot be told: it is given a moment at the end, and cut.
    """
    members = hub.subscribers
    random.shuffle(members)
    logger.info("drain.started streams=%d seconds=%g", len(members), over)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number, member in enumerate(members):
        due = began + over * (number + random.random()) / len(members)
        if due > loop.time() + SLICE or number % 100 == 99:
            await asyncio.sleep(max(0.0, due - loop.time()))
        _tell(hub, member)
    deadline = loop.time() + GRACE
    while (busy := [member for member in members if member.open]) and loop.time() < deadline:
        await asyncio.sleep(SLICE)
        for member in busy:
            _tell(hub, member)
    for member in busy:
        hub.close(member, CloseReason.DRAINING)
    logger.info("drain.finished streams=%d cut=%d", len(members), len(busy))


async def close_all(hub: Hub, reason: CloseReason) -> None:
    """Tell every stream that it ends, at once."""
    time_slice = TimeSlice()
    for member in hub.subscribers:
        hub.close(member, reason)
        if time_slice.due:
            await time_slice.take()


def _tell(hub: Hub, member: Subscriber) -> None:
    if not member.transport.busy:
        hub.close(member, CloseReason.DRAINING)

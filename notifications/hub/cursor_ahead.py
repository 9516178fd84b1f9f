"""A cursor that is ahead of this process: another may have read further, or the log lost it."""

from collections.abc import Awaitable, Callable

from notifications.errors import Unavailable
from notifications.hub.hub import Hub
from notifications.hub.subscribers import Subscriber
from notifications.log.base import Log
from notifications.log.cursors import Cursor
from notifications.log.entries import ResetReason


async def verify_cursor(
    log: Log, hub: Hub, subscriber: Subscriber, *, pause: Callable[[], Awaitable[None]]
) -> None:
    """Send a reset if the log has not reached the subscriber's position, or does not have it.

    `pause` is awaited where the log cannot be reached, or this process has not read so far, before
    either is asked again.
    """
    cursor = Cursor(hub.head.epoch, subscriber.position)
    while subscriber.open and hub.head.epoch == cursor.epoch:
        try:
            state = await log.state()
        except Unavailable:
            await pause()
            continue
        if state.epoch != cursor.epoch:
            return
        if state.position >= cursor.position > hub.head.position:
            await pause()
            continue
        if state.position < cursor.position or not hub.window.holds(cursor.position):
            hub.reset(subscriber, ResetReason.UNKNOWN)
        return

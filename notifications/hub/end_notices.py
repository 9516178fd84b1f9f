"""End notices: what is called when a stream has left its hub, and nobody else waits for its end."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress

from notifications.hub.subscribers import CloseReason, Subscriber

FINISH_SECONDS = 2.0
"""How long a process that stops waits for the last notices."""

type EndNotice = Callable[[], Awaitable[object]]
"""Called after the client has left."""


class EndNotices:
    """The notices of open streams, of which few have one. Lives in one event loop."""

    def __init__(self, spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]]) -> None:
        self._spawn = spawn
        self._notices: dict[Subscriber, EndNotice] = {}
        self._running: set[asyncio.Task[None]] = set()

    def add(self, subscriber: Subscriber, notice: EndNotice) -> None:
        if subscriber.open:
            self._notices[subscriber] = notice
        else:
            self._call(notice)

    def send(self, subscriber: Subscriber, _: CloseReason) -> None:
        """The subscriber has left the hub."""
        notice = self._notices.pop(subscriber, None)
        if notice is not None:
            self._call(notice)

    def _call(self, notice: EndNotice) -> None:
        task = self._spawn(_await(notice))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def finish(self) -> None:
        """Wait for the notices that are under way, for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                await asyncio.gather(*self._running, return_exceptions=True)


async def _await(notice: EndNotice) -> None:
    await notice()

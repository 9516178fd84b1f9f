"""An event stream before and while it is open: its topics, its start, and its subscriber."""

import asyncio
import weakref
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from notifications.hub import runtime
from notifications.hub.encoders import PLAIN, Encoder
from notifications.hub.end_notices import EndNotice
from notifications.hub.grants import Grant
from notifications.hub.hub import Hub
from notifications.hub.refusals import Refusal
from notifications.hub.subscribers import CloseReason, Start, Subscriber
from notifications.transport.base import Payload, Transport
from notifications.transport.pull import PullTransport

READY_TIMEOUT_SECONDS = 2.0
"""How long a new stream waits for a process that has just started to load its window."""


class EventStream:
    """The topics of a stream and where it starts. It joins the hub when it is opened.

    Iterating over it opens it too, if the stream is not handed off.
    """

    def __init__(
        self,
        grant: Grant,
        start: Start,
        encoder: Encoder = PLAIN,
        *,
        end_notice: EndNotice | None = None,
        refused: CloseReason | None = None,
    ) -> None:
        """`refused`: the reason why the stream cannot open, if its view knows one."""
        self.end_notice = end_notice
        self._grant = grant
        self._start = _pinned(start)
        self._encoder = encoder
        self._refused = refused
        self._holding: AbstractContextManager[float] | None = None
        self._address: str | None = None
        self._client: str | None = None
        self._quota_names: tuple[str, ...] = ()
        self._transport: PullTransport | None = None
        self._end_iteration: weakref.finalize[..., EventStream] | None = None
        """Leaves the hub, once, and at the latest when nobody refers to this stream any more."""

    def set_client(self, scope: Mapping[str, Any]) -> None:
        """Take the client's address from the ASGI scope, for its quota and for the log."""
        self._client = scope["client"][0] if scope.get("client") else None
        self._address = runtime.start().quotas.address(scope)

    async def refusal(self) -> Refusal | None:
        """Why the stream cannot open now. If it can, call `open` at once.

        A process that has just started loads its window first.
        """
        if self._refused is not None:
            return Refusal(self._refused, self._encoder)
        running = runtime.start()
        if not await running.wait_ready(timeout=READY_TIMEOUT_SECONDS):
            return Refusal(running.refusal, self._encoder)
        names = running.quotas.admit(self._address, self._grant)
        if isinstance(names, CloseReason):
            return Refusal(names, self._encoder)
        self._quota_names = names
        return None

    def open(self, transport: Transport) -> tuple[Hub, Subscriber]:
        """Join the hub of the running loop.

        Raises `RuntimeError` if this process has not loaded its window yet.
        """
        running = runtime.start()
        subscriber = running.subscribe(
            self._grant,
            transport,
            self._start,
            encoder=self._encoder,
            quota_names=self._quota_names,
        )
        subscriber.came_from(self._client)
        return running.hub, subscriber

    def open_detached(self, transport: Transport) -> None:
        """Join the hub, and live on by it alone: nobody waits for the end of this stream."""
        _, subscriber = self.open(transport)
        if self.end_notice is not None:
            runtime.start().end_notices.add(subscriber, self.end_notice)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._transport is None:
            self._transport = PullTransport()
            refusal = await self.refusal()
            if refusal is None:
                hub, subscriber = self.open(self._transport)
                loop = asyncio.get_running_loop()
                self._end_iteration = weakref.finalize(
                    self, _leave_soon, loop, hub, subscriber, self.end_notice
                )
                self._end_iteration.atexit = False
            else:
                breaks_off = self._encoder.ends_broken_off
                self._transport.end(Payload(refusal.block()), break_off=breaks_off)
                self._holding = runtime.start().quotas.held_refusals.hold(refusal.reason)
        elif self._holding is not None:
            holding, self._holding = self._holding, None
            with holding as seconds:
                await asyncio.sleep(seconds)
        chunk = await self._transport.pull()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """End the iteration. Idempotent, as `close` is."""
        if self._end_iteration is not None and (ending := self._end_iteration.detach()):
            _, _, (_, *joined), _ = ending
            await _leave(*joined)

    def close(self) -> None:
        """End the iteration, from any thread. Django calls it at the end of a response.

        A middleware's iterator around this one need not close it, nor does Django's own.
        """
        if self._end_iteration is not None:
            self._end_iteration()


def _leave_soon(
    loop: asyncio.AbstractEventLoop, hub: Hub, subscriber: Subscriber, notice: EndNotice | None
) -> None:
    if not loop.is_closed():
        asyncio.run_coroutine_threadsafe(_leave(hub, subscriber, notice), loop)


async def _leave(hub: Hub, subscriber: Subscriber, notice: EndNotice | None) -> None:
    hub.leave(subscriber, CloseReason.CLIENT_LEFT)
    if notice is not None:
        await notice()


def _pinned(start: Start) -> Start:
    """A stream that starts now starts when its response is made, so no later event is missed."""
    if start.cursor is not None or start.since_ms is not None or start.last or start.cursors:
        return start
    try:
        running = runtime.current()
    except RuntimeError:  # a synchronous view, in a thread without a loop
        return start
    if running is None or not running.ready:
        return start
    return Start(cursor=running.hub.head, page_user=start.page_user)

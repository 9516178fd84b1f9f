"""How a request arrives at uvicorn: within the limits that uvicorn leaves out."""

import asyncio
from asyncio import AbstractEventLoop, TimerHandle
from functools import cache
from typing import Any

from notifications.conf import get_settings

MAX_HEAD_BYTES = 32 * 1024
REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)


class BoundedProtocol:
    """A mixin before one of uvicorn's protocols, for what uvicorn leaves without a limit.

    That is the first head of a connection, which may never come, and under httptools the size of a
    head.
    """

    cycle: Any
    loop: AbstractEventLoop
    transport: Any
    timeout_keep_alive_task: TimerHandle | None
    _first_head: TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        seconds = get_settings().REQUEST_TIMEOUT
        self._first_head = self.loop.call_later(seconds, self._close_without_head)

    def data_received(self, data: bytes) -> None:
        cycle = self.cycle
        super().data_received(data)  # type: ignore[misc]
        if self.cycle is not cycle:  # a request began
            self._head_bytes = 0
        elif cycle is None or (cycle.response_complete and not cycle.more_body):
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.transport.write(REFUSAL)
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)  # type: ignore[misc]
        # uvicorn leaves its timer running after a reset. A timer holds the whole connection.
        for timer in (self._first_head, self.timeout_keep_alive_task):
            if timer is not None:
                timer.cancel()
        self.timeout_keep_alive_task = None

    def _close_without_head(self) -> None:
        if self.cycle is None and self.transport.get_protocol() is self:
            self.transport.abort()


@cache
def bounded(protocol_class: type[Any]) -> type[Any]:
    return type(f"Bounded{protocol_class.__name__}", (BoundedProtocol, protocol_class), {})

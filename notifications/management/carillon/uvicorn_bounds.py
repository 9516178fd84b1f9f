"""uvicorn's connections, bounded: how long a request takes to come in, and how large it is.

Of heads h11 takes what it is told to; httptools takes them without end.
"""

from functools import cache
from typing import Any

from notifications.conf import get_settings
from notifications.management.carillon.patience import Debt, Owed

MAX_HEAD = 32 * 1024
_REFUSAL = b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Bounds:
    """Before a protocol of uvicorn's: counts what it receives."""

    cycle: Any
    flow: Any
    transport: Any
    timeout_keep_alive_task: Any
    _counted = 0
    _head = 0
    _counted_for: Any = None

    def data_received(self, data: bytes) -> None:
        reads_head = self._reads_head
        super().data_received(data)  # type: ignore[misc]
        if self.cycle is not self._counted_for:
            self._counted_for, self._counted, self._head = self.cycle, len(data), 0
        elif reads_head:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse(b"431 Request Header Fields Too Large")
        else:
            self._counted += len(data)
            if self._counted > get_settings().MAX_REQUEST_BYTES + MAX_HEAD:
                self._refuse(b"413 Content Too Large")

    @property
    def _reads_head(self) -> bool:
        """Not if it was answered before its body was through, and the rest may still come."""
        cycle = self.cycle
        return cycle is None or (cycle.response_complete and not cycle.more_body)

    def _refuse(self, status: bytes) -> None:
        if self.cycle is None or not self.cycle.response_started:
            self.transport.write(_REFUSAL % status)
        self.transport.close()

    def owes(self, stride: int) -> Debt:
        """What it is in the middle of sending, and how many strides of it have come."""
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return Owed.GONE
        cycle = self.cycle
        if cycle is None:
            return Owed.FIRST
        if cycle.response_complete:
            # Kept alive: uvicorn's own timer runs until something comes.
            idle = self.timeout_keep_alive_task is not None
            return Owed.NOTHING if idle else (id(cycle), -1)
        if cycle.more_body and not (cycle.response_started or self.flow.read_paused):
            return id(cycle), self._counted // stride
        return Owed.NOTHING


@cache
def bounded(protocol_class: type[Any]) -> type[Any]:
    return type(f"Bounded{protocol_class.__name__}", (Bounds, protocol_class), {})


def cut(connection: Any) -> None:
    connection.transport.abort()

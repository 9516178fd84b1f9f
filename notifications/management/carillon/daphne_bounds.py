"""Daphne's connections, bounded: how long a request takes to come in, and how large it is.

Of heads Twisted takes 16 KiB and 500 lines by itself. A body it keeps, beyond 100 KiB on disk,
until it has all of it, and before the application hears of it.
"""

from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest

from notifications.conf import get_settings
from notifications.management.carillon.patience import Debt, Owed, Patience

TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class BoundedRequest(WebRequest):  # type: ignore[misc]
    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        if self.content.tell() + len(data) <= get_settings().MAX_REQUEST_BYTES:
            super().handleContentChunk(data)
            return
        channel = self.channel
        channel.transport.write(TOO_LARGE)
        channel.dataReceived = lambda _: None
        channel.loseConnection()

    def requestReceived(self, *args: Any) -> None:  # noqa: N802
        self.channel.carillon_asked = True
        super().requestReceived(*args)


class BoundedFactory(HTTPFactory):  # type: ignore[misc]
    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self._patience: Patience[Any] = Patience(self._owes, _cut)

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = BoundedRequest
        self._patience.watch(protocol._channel)  # noqa: SLF001 - the one that is negotiated first
        return protocol

    def _owes(self, channel: Any) -> Debt:
        if not getattr(channel.transport, "connected", False):
            return Owed.GONE
        if channel._handlingRequest:  # noqa: SLF001
            return Owed.NOTHING
        asked = getattr(channel, "carillon_asked", False)
        request = channel.requests[-1] if channel.requests else None
        if request is not None and request.content is not None:
            return id(request), request.content.tell() // self._patience.stride
        if not asked:
            return Owed.FIRST
        if request is None and not channel._buffer:  # noqa: SLF001
            return Owed.NOTHING
        return id(request), -1


def _cut(channel: Any) -> None:
    channel.transport.abortConnection()

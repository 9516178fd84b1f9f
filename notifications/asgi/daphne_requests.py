"""How a request arrives at Daphne: within limits, and without a disk if need be."""

from io import BytesIO
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest

from notifications.asgi.bodies import last_answer, not_stored
from notifications.conf import get_settings
from notifications.errors import CarillonError, TooLarge


class BoundedRequest(WebRequest):  # type: ignore[misc]
    """A request whose body has a limit.

    Twisted limits heads by itself, to 16 KiB and 500 lines. It keeps a whole body before it calls
    the application: in a temporary file from 100 kB on.
    """

    body_bytes = 0

    def gotLength(self, length: int | None) -> None:  # noqa: N802 - Twisted's name
        try:
            super().gotLength(length)
        except OSError:  # no folder for temporary files can be written to
            self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self.body_bytes += len(data)
        limit = get_settings().MAX_REQUEST_BYTES
        if self.body_bytes > limit:
            self._refuse(TooLarge(f"A request may have at most {limit} bytes."))
            return
        try:
            super().handleContentChunk(data)
        except OSError as error:
            self._refuse(not_stored(error))

    def _refuse(self, error: CarillonError) -> None:
        """Answer before the body has arrived, and close the connection."""
        self.channel.transport.write(last_answer(error))
        self.channel.dataReceived = lambda _: None
        self.channel.loseConnection()


class BoundedFactory(HTTPFactory):  # type: ignore[misc]
    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.timeOut = get_settings().REQUEST_TIMEOUT

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802 - Twisted's name
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = BoundedRequest
        return protocol

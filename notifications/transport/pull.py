"""The wire where somebody iterates over the response."""

import asyncio

from notifications.transport.base import Payload, Transport


class PullTransport(Transport):
    """The stream waits until it is asked for more."""

    __slots__ = ("_asked", "_chunk", "_ended")

    def __init__(self) -> None:
        super().__init__()
        self._chunk: bytes | None = None
        self._ended = False
        self._asked = asyncio.Event()

    def write(self, payload: Payload) -> None:
        self._chunk = payload.raw
        self.busy = True
        self._asked.set()

    def end(self, payload: Payload, *, hang_up: bool = False) -> None:
        self.write(payload)
        self._ended = True

    def abort(self) -> None:
        self._ended = True
        self._asked.set()

    async def pull(self) -> bytes | None:
        """The next chunk, None at the end. Asking says that the one before is through."""
        if self._chunk is None and self.busy:
            self.busy = False
            if not self._ended:
                self.owner.drained()
        while self._chunk is None:
            if self._ended:
                return None
            self._asked.clear()
            await self._asked.wait()
        chunk, self._chunk = self._chunk, None
        return chunk

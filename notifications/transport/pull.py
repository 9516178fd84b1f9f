"""The transport for a response that somebody iterates over, such as Django's own ASGI handler."""

import asyncio

from notifications.transport.base import Payload, Transport


class PullTransport(Transport):
    """Holds one chunk until `pull` asks for it."""

    __slots__ = ("_chunk", "_ended", "_is_broken_off", "_wakeup")

    def __init__(self) -> None:
        super().__init__()
        self._chunk: bytes | None = None
        self._ended = False
        self._is_broken_off = False
        self._wakeup = asyncio.Event()

    def write(self, payload: Payload) -> None:
        self._chunk = payload.raw
        self.busy = True
        self._wakeup.set()

    def end(self, payload: Payload, *, break_off: bool = False) -> None:
        self.write(payload)
        self._ended = True
        self._is_broken_off = break_off

    def abort(self) -> None:
        self._ended = True
        self._wakeup.set()

    async def pull(self) -> bytes | None:
        """The next chunk, or None at the end. A pull means that the chunk before it is sent.

        Raises `ConnectionAbortedError` at the end of a stream that is broken off.
        """
        if self._chunk is None and self.busy:
            self.busy = False
            if not self._ended:
                self.callbacks.drained()
        while self._chunk is None:
            if self._ended and self._is_broken_off:
                raise ConnectionAbortedError(
                    "The stream is broken off, so that its client returns."
                )
            if self._ended:
                return None
            self._wakeup.clear()
            await self._wakeup.wait()
        chunk, self._chunk = self._chunk, None
        return chunk

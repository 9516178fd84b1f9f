"""Work that is long in sum, in slices that are not."""

import asyncio

STRIDE = 16
"""So many small steps, such as writes to a socket, are worth a look at the clock."""


class Breath:
    """Lets the event loop go on when a piece of work has held it for long enough."""

    SLICE = 0.002

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + self.SLICE

    @property
    def due(self) -> bool:
        return self._loop.time() > self._until

    async def take(self) -> None:
        await asyncio.sleep(0)
        self._until = self._loop.time() + self.SLICE

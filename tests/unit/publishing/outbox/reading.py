"""What is in the log, read by whoever wants to know, and waited for."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager

from notifications.conf import get_settings
from notifications.log.base import Entry
from notifications.log.factory import open_log
from notifications.publishing.outbox import Relays

DEADLINE = 30.0


class Published:
    """The log of the settings, whatever they are when it is asked."""

    def entries(self) -> list[Entry]:
        async def read() -> list[Entry]:
            async with open_log(get_settings()) as log:
                state = await log.state()
                async with aclosing(log.read(until=state.position)) as history:
                    return [entry async for batch in history for entry in batch.entries]

        return asyncio.run(read())

    def data(self, topic: str | None = None) -> list[str]:
        return [
            entry.data.decode()
            for entry in self.entries()
            if topic is None or topic in entry.topics
        ]

    def until(self, number: int) -> list[str]:
        """The data of all there are, once there are so many."""
        wait_until(lambda: len(self.data()) >= number)
        return self.data()


def wait_until(condition: Callable[[], bool], *, deadline: float = DEADLINE) -> None:
    limit = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < limit, "It did not come to pass."
        time.sleep(0.01)


@contextmanager
def relaying(using: str) -> Iterator[Relays]:
    """A relay in this process."""
    relays = Relays([using], get_settings())
    relays.start()
    try:
        yield relays
    finally:
        relays.stop()

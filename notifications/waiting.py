"""Waiting: whose wire is still busy with what it was handed, and since when."""

import asyncio
from collections.abc import Iterator
from itertools import takewhile

from notifications.subscribers import Subscriber


class Waiting:
    """In the order in which they began to wait. Times are the event loop's."""

    def __init__(self) -> None:
        self._since: dict[Subscriber, float] = {}
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return len(self._since)

    def begin(self, subscriber: Subscriber) -> None:
        self._since[subscriber] = self._loop.time()

    def end(self, subscriber: Subscriber) -> None:
        self._since.pop(subscriber, None)

    def late(self, deadline: float) -> Iterator[Subscriber]:
        """Those who have waited for `deadline` seconds, each forgotten as it is named.

        Others may come and go meanwhile.
        """
        oldest = self._loop.time() - deadline
        waited = takewhile(lambda waiting: waiting[1] <= oldest, self._since.items())
        for subscriber, since in list(waited):
            if self._since.get(subscriber) == since:
                del self._since[subscriber]
                yield subscriber

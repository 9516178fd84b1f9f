"""The subscribers that have not taken their last payload yet."""

from collections.abc import Callable, Iterator
from itertools import takewhile

from notifications.hub.subscribers import Subscriber


class SlowSubscribers:
    """The subscribers whose transport is still busy with a payload: the one that has waited longest
    first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._waiting_since: dict[Subscriber, float] = {}
        self._clock = clock

    def __len__(self) -> int:
        return len(self._waiting_since)

    def add(self, subscriber: Subscriber) -> None:
        self._waiting_since[subscriber] = self._clock()

    def discard(self, subscriber: Subscriber) -> None:
        self._waiting_since.pop(subscriber, None)

    def overdue(self, deadline: float) -> Iterator[Subscriber]:
        """Take out, one by one, the subscribers that have waited for `deadline` seconds.

        Other subscribers may come and go between two steps of the iteration.
        """
        oldest = self._clock() - deadline
        waited = takewhile(lambda wait: wait[1] <= oldest, self._waiting_since.items())
        for subscriber, waiting_since in list(waited):
            if self._waiting_since.get(subscriber) == waiting_since:
                del self._waiting_since[subscriber]
                yield subscriber

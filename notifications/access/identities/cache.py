"""Credentials that were verified a moment ago, so that not every request asks the database."""

import threading
import time
from collections.abc import Callable

from notifications.access.identities.base import Identity

AGE = 5.0
SIZE = 1_000


class Verified:
    """Found by the hash of what was shown, for `AGE` seconds; the oldest of more than `SIZE` goes.

    From any thread.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[str, tuple[float, Identity]] = {}
        self._lock = threading.Lock()
        self.generation = 0

    def get(self, digest: str) -> Identity | None:
        added, identity = self._entries.get(digest, (0.0, None))
        return identity if identity is not None and self._clock() - added < AGE else None

    def add(self, digest: str, identity: Identity, *, generation: int) -> None:
        """Unless something was forgotten since this generation was read: what was looked up then
        may have ended meanwhile."""
        with self._lock:
            if generation != self.generation:
                return
            self._entries.pop(digest, None)
            if len(self._entries) >= SIZE:
                del self._entries[next(iter(self._entries))]
            self._entries[digest] = (self._clock(), identity)

    def forget(self, subject: str) -> None:
        with self._lock:
            self.generation += 1
            for digest, (_, identity) in list(self._entries.items()):
                if subject in identity.subjects:
                    del self._entries[digest]

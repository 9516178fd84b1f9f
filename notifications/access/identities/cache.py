"""A cache of verified credentials, so that not every request costs a query or a signature check."""

import threading
import time
from collections.abc import Callable

from notifications.access.identities.base import Identity

MAX_AGE_SECONDS = 5.0
MAX_ENTRIES = 1_000


class CredentialCache:
    """Identities by the hash of their credentials, for a few seconds. Thread-safe.

    A full cache drops its oldest entry for a new one.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, max_entries: int = MAX_ENTRIES
    ) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._entries: dict[str, tuple[float, Identity]] = {}
        self._lock = threading.Lock()
        self.generation = 0
        """How often `forget` was called."""

    def get(self, digest: str) -> Identity | None:
        added, identity = self._entries.get(digest, (0.0, None))
        if identity is None or self._clock() - added >= MAX_AGE_SECONDS:
            return None
        return identity

    def add(self, digest: str, identity: Identity, *, generation: int) -> None:
        """Adds an identity that was looked up in this generation.

        Ignored if `forget` was called since: the credentials may have ended during the lookup.
        """
        with self._lock:
            if generation != self.generation:
                return
            self._entries.pop(digest, None)
            if len(self._entries) >= self._max_entries:
                del self._entries[next(iter(self._entries))]
            self._entries[digest] = (self._clock(), identity)

    def forget(self, subject: str) -> None:
        with self._lock:
            self.generation += 1
            for digest, (_, identity) in list(self._entries.items()):
                if subject in identity.subjects:
                    del self._entries[digest]

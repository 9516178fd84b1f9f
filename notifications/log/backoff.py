"""Pauses between attempts: jittered, and twice as long each time, up to a limit."""

import random
from collections.abc import Callable

type Uniform = Callable[[float, float], float]
"""A source of randomness: a number between two."""


class Backoff:
    def __init__(
        self, first_seconds: float, longest_seconds: float, *, uniform: Uniform = random.uniform
    ) -> None:
        self._first = self._next = first_seconds
        self._longest = longest_seconds
        self._uniform = uniform

    def next_pause(self) -> float:
        """Seconds, within half of the mean pause either way."""
        pause = self._next * self._uniform(0.5, 1.5)
        self._next = min(2 * self._next, self._longest)
        return pause

    def reset(self) -> None:
        self._next = self._first

"""Ended streams, as the log in memory remembers them."""

from collections.abc import Callable, Iterable, Mapping

from notifications.log.cursors import START, Position
from notifications.log.ended import EndedStream, Recalled

MAX_NAMED = 100_000


class EndedInMemory:
    """Not safe between threads: its store has the lock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        self._named: dict[str, Position] = {}
        """The last control entry of each subject, the oldest first."""
        self._unknown_until = START
        self._ended: dict[str, tuple[EndedStream, float]] = {}

    def note_named(self, subjects: Iterable[str], position: Position) -> None:
        """A control entry at this position names these subjects."""
        for subject in subjects:
            self._named.pop(subject, None)
            self._named[subject] = position
        while len(self._named) > MAX_NAMED:
            self._unknown_until = self._named.pop(next(iter(self._named)))

    def remember(self, ended: Mapping[str, EndedStream | None], *, seconds: float) -> None:
        now = self._clock()
        kept = {name: known for name, known in self._ended.items() if known[1] > now}
        kept |= {name: (stream, now + seconds) for name, stream in ended.items() if stream}
        self._ended = {name: known for name, known in kept.items() if ended.get(name, known)}

    def recall(self, name: str, epoch: str) -> Recalled | None:
        stream, deadline = self._ended.get(name, (None, 0.0))
        left = deadline - self._clock()
        if stream is None or left <= 0 or stream.as_of.epoch != epoch:
            return None
        named = [self._named.get(subject, START) for subject in stream.subjects]
        is_named = max(self._unknown_until, *named) > stream.as_of.position
        return None if is_named else Recalled(stream, left)

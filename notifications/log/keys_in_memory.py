"""The idempotency keys that a log in memory remembers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from notifications.errors import Conflict
from notifications.log.entries import Draft, Receipt


@dataclass(slots=True)
class _Key:
    """One key, until a moment of the clock, with the fingerprint and the receipt of each part."""

    deadline: float = 0.0
    parts: dict[str, tuple[str, Receipt]] = field(default_factory=dict)


class KeysInMemory:
    """Its owner lets one thread in at a time. `age`: seconds after the last use of a key."""

    def __init__(self, clock: Callable[[], float], age: float) -> None:
        self._clock = clock
        self._age = age
        self._keys: dict[str, _Key] = {}

    def refuse_conflicts(self, drafts: Sequence[Draft]) -> None:
        """Raises `Conflict`."""
        now = self._clock()
        self._keys = {name: key for name, key in self._keys.items() if key.deadline > now}
        seen: dict[tuple[str, str], str] = {}
        for index, draft in enumerate(drafts):
            if draft.key is None:
                continue
            known, _ = self._part(draft) or (draft.fingerprint, None)
            if seen.setdefault((draft.key, draft.part), known) != draft.fingerprint:
                raise Conflict.at(index)

    def receipt(self, draft: Draft) -> Receipt | None:
        """That of the first event under the draft's key and part."""
        part = self._part(draft)
        return part[1] if part else None

    def _part(self, draft: Draft) -> tuple[str, Receipt] | None:
        key = self._keys.get(draft.key) if draft.key is not None else None
        return key.parts.get(draft.part) if key else None

    def remember(self, draft: Draft, receipt: Receipt) -> None:
        if draft.key is not None:
            key = self._keys.setdefault(draft.key, _Key())
            key.deadline = self._clock() + self._age
            key.parts[draft.part] = draft.fingerprint, receipt

    def release(self, names: Iterable[str], *, seconds: float) -> None:
        deadline = self._clock() + seconds
        for name in self._keys.keys() & set(names):
            self._keys[name].deadline = min(self._keys[name].deadline, deadline)

    def clear(self) -> None:
        self._keys.clear()

"""What happened in a world, as its check needs it."""

from dataclasses import dataclass, field
from typing import Literal

from notifications.log.cursors import Cursor


@dataclass
class Published:
    """One event with data that no other event has. Times are of the world, in seconds.

    `life`: the process that acknowledged it, and which of its lives that was.
    """

    data: str
    topics: frozenset[str]
    began: float
    key: str | None = None
    outcome: Literal["acknowledged", "unknown", "not_sent"] = "unknown"
    attempts: int = 0
    cursor: Cursor | None = None
    acknowledged_at: float = 0.0
    life: tuple[str, int] = ("", 0)
    by_outbox: bool = False

    def acknowledge(self, cursor: Cursor, life: tuple[str, int], now: float) -> None:
        self.outcome, self.cursor = "acknowledged", cursor
        self.life, self.acknowledged_at = life, now

    @property
    def name(self) -> str:
        """Short enough for a line."""
        return f"#{self.data.rstrip('.')}"


@dataclass
class Revocation:
    """From `began` on the user may have nothing; the control entry was acknowledged at `at`.

    `life`: as in `Published`.
    """

    user: str
    began: float
    action: str
    at: Cursor | None = None
    acknowledged: float | None = None
    life: tuple[str, int] = ("", 0)


@dataclass
class Loss:
    """What Redis lost at a time."""

    when: float
    cursors: frozenset[Cursor] = field(default_factory=frozenset)

"""What can have become of a delivery, and why."""

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum

from django.db.models import IntegerChoices

MAX_REASON_CHARACTERS = 30


class DeliveryState(IntegerChoices):
    WAITING = 0
    IN_DIGEST = 1
    """It waits for the digest that it is part of."""
    SENT = 2
    SUPPRESSED = 3
    FAILED = 4
    CLOSING = 5
    """It was sent, and is to disappear where it is shown: the person has seen it elsewhere."""
    CLOSED = 6


LEASED = (DeliveryState.WAITING, DeliveryState.CLOSING)
"""The states of a delivery with which there is something to do."""


class Reason(StrEnum):
    """Why a delivery was suppressed, or why it failed or waits for longer."""

    SEEN = "seen"
    READ = "read"
    ARCHIVED = "archived"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    REPLACED = "replaced"
    """A newer notification has taken its place, with a delivery of its own."""
    PREFERENCE = "preference"
    """The person has switched this channel off for the category; the detail names both."""
    NOT_ASKED = "not-asked"
    """The kind does not ask for this channel any more."""
    INACTIVE = "inactive"
    NO_ADDRESS = "no-address"
    """The user has no e-mail address, or no device that takes push messages."""
    NOTHING_NEW = "nothing-new"
    """A digest of nothing: all of it was suppressed."""
    QUIET_HOURS = "quiet-hours"
    TRY_AGAIN = "try-again"
    """It failed, perhaps for a while only; the detail says how."""
    REFUSED = "refused"
    """The server refuses this message for good; the detail has its words."""
    GAVE_UP = "gave-up"
    """It failed for some days; the detail says how the last time."""
    NO_TEXT = "no-text"
    """The template of the kind failed, or has no words."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a delivery, and when."""

    state: DeliveryState
    reason: Reason | None
    detail: str
    ended_at: datetime


@dataclass(slots=True)
class Delivered:
    """How many deliveries were sent, suppressed, postponed (into a digest, too), and failed.

    And how many push messages were closed, because their person had seen it elsewhere.
    """

    sent: int = 0
    suppressed: int = 0
    postponed: int = 0
    failed: int = 0
    closed: int = 0

    @property
    def total(self) -> int:
        return sum(getattr(self, each.name) for each in fields(self))

    def __add__(self, other: "Delivered") -> "Delivered":
        names = [each.name for each in fields(self)]
        return Delivered(*(getattr(self, name) + getattr(other, name) for name in names))

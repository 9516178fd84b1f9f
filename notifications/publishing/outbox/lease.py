"""Which of the relays of one database is at work."""

import time
import uuid
from datetime import timedelta

from django.db.models import DurationField, ExpressionWrapper, F, Q
from django.db.models.functions import Now

from notifications.publishing.outbox.table import leases

ONLY = 1


class Lease:
    """One row, written by the clock of the database: those of its clients may differ."""

    def __init__(self, using: str, *, seconds: float) -> None:
        self._using = using
        self._seconds = seconds
        self._holder = uuid.uuid4().hex
        self._renewed = -float("inf")

    @property
    def held(self) -> bool:
        """Whether nobody else can have it, by our own clock alone."""
        return time.monotonic() < self._renewed + self._seconds

    @property
    def due(self) -> bool:
        """Whether it is time to renew it."""
        return time.monotonic() >= self._renewed + self._seconds / 3

    def is_of(self, holder: str) -> bool:
        return holder == self._holder

    def take(self) -> bool:
        """Renew it, or take it where nobody has it. What was ours and ran out is ours to renew."""
        asked = time.monotonic()
        rows = leases().objects.using(self._using)
        free = Q(holder=self._holder) | Q(expires_at__lte=Now())
        until = Now() + timedelta(seconds=self._seconds)
        taken = rows.filter(free, pk=ONLY).update(holder=self._holder, expires_at=until)
        if not taken and not rows.filter(pk=ONLY).exists():
            rows.bulk_create([leases()(pk=ONLY, expires_at=Now())], ignore_conflicts=True)
            return self.take()
        self._renewed = asked if taken else -float("inf")
        return bool(taken)

    def left(self) -> tuple[str, float]:
        """Who had it last, nobody where it was released, and for how many seconds more.

        Negative: since when it has run out.
        """
        left = ExpressionWrapper(F("expires_at") - Now(), output_field=DurationField())
        rows = leases().objects.using(self._using).filter(pk=ONLY).annotate(left=left)
        found = rows.values_list("holder", "left").first()
        return ("", 0.0) if found is None else (found[0], found[1].total_seconds())

    def release(self) -> None:
        """For the next, at once."""
        self._renewed = -float("inf")
        ours = leases().objects.using(self._using).filter(holder=self._holder)
        ours.update(holder="", expires_at=Now())

"""The lease that makes one relay of a database active, while the others stand by."""

import time
import uuid
from collections.abc import Callable
from datetime import timedelta

from django.db.models import DurationField, ExpressionWrapper, F, Q

from notifications.publishing.outbox.clock import Now
from notifications.publishing.outbox.table import outbox_leases

ONLY_ROW = 1
NEVER = -float("inf")


class Lease:
    """One row whose times are set by the clock of the database: its clients' clocks may differ."""

    def __init__(
        self, using: str, *, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._using = using
        self._seconds = seconds
        self._clock = clock
        self._holder = uuid.uuid4().hex
        self._renewed_at = NEVER

    @property
    def held(self) -> bool:
        """Whether no other relay can have the lease, by the clock of this process alone."""
        return self._clock() < self._renewed_at + self._seconds

    @property
    def due(self) -> bool:
        """Whether it is time to renew the lease."""
        return self._clock() >= self._renewed_at + self._seconds / 3

    def is_of(self, holder: str) -> bool:
        return holder == self._holder

    def take(self) -> bool:
        """Renew the lease, or take it if it is free. An expired lease of ours can be renewed."""
        began = self._clock()
        rows = outbox_leases().objects.using(self._using)
        is_free = Q(holder=self._holder) | Q(expires_at__lte=Now())
        expires_at = Now() + timedelta(seconds=self._seconds)
        taken = rows.filter(is_free, pk=ONLY_ROW).update(holder=self._holder, expires_at=expires_at)
        if not taken and not rows.filter(pk=ONLY_ROW).exists():
            unowned = outbox_leases()(pk=ONLY_ROW, expires_at=Now())
            rows.bulk_create([unowned], ignore_conflicts=True)
            return self.take()
        self._renewed_at = began if taken else NEVER
        return bool(taken)

    def read(self) -> tuple[str, float]:
        """The last holder ("" once released), and the seconds until expiry (negative: since)."""
        remaining = ExpressionWrapper(F("expires_at") - Now(), output_field=DurationField())
        leases = outbox_leases().objects.using(self._using)
        rows = leases.filter(pk=ONLY_ROW).annotate(remaining=remaining)
        row = rows.values_list("holder", "remaining").first()
        return ("", 0.0) if row is None else (row[0], row[1].total_seconds())

    def release(self) -> None:
        """Let another relay take the lease at once."""
        self._renewed_at = NEVER
        leases = outbox_leases().objects.using(self._using)
        leases.filter(holder=self._holder).update(holder="", expires_at=Now())

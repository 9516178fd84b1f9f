"""What the database holds: the permission to publish, API keys, and the outbox."""

import json
import uuid
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from notifications.errors import Invalid
from notifications.topics import patterns

if TYPE_CHECKING:
    ListField = models.Field[list[str], list[str]]
else:  # which is generic in its stubs alone
    ListField = models.Field


class TextListField(ListField):
    """Kept as JSON, in any database.

    Not a `JSONField`: where SQLite is the database, its system check opens that at every start.
    """

    def get_internal_type(self) -> str:
        return "TextField"

    def from_db_value(self, value: str, *_: Any) -> Any:
        return json.loads(value)

    def get_prep_value(self, value: Any) -> str:
        return json.dumps(value)

    def to_python(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise ValidationError("This is not a list in JSON.") from None

    def value_to_string(self, obj: models.Model) -> str:
        return self.get_prep_value(self.value_from_object(obj))


class Event(models.Model):
    """Not a table: events are in the log. It is what the permission is about."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = [("publish_event", "Can publish events")]

    def __str__(self) -> str:
        return "event"


class KeyState(StrEnum):
    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class ApiKey(models.Model):
    """What is known of a key: enough to recognise it, and not enough to use it.

    Whatever ends one, or changes what it allows, goes through `save()` or `delete()`, whose signals
    end its streams.
    """

    name = models.CharField(max_length=100, help_text="Whose key it is, or what for.")
    prefix = models.CharField("key", max_length=8, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    subscribe = TextListField("may subscribe to", default=list, blank=True)
    publish = TextListField("may publish to", default=list, blank=True)
    created_at = models.DateTimeField("created", default=timezone.now, editable=False)
    expires_at = models.DateTimeField(
        "expires", null=True, blank=True, help_text="Leave it empty for a key that never expires."
    )
    revoked_at = models.DateTimeField("revoked", null=True, editable=False)

    class Meta:
        verbose_name = "API key"
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.name} (crl_{self.prefix}_…)"

    def clean(self) -> None:
        faults = {}
        for field in ("subscribe", "publish"):
            try:
                patterns(getattr(self, field))
            except Invalid as error:
                faults[field] = error.detail
        if not (faults or self.subscribe or self.publish):
            faults["subscribe"] = "A key needs a pattern to subscribe to, or one to publish to."
        if faults:
            raise ValidationError(faults)

    @property
    def state(self) -> KeyState:
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if self.expires_at is not None and self.expires_at <= timezone.now():
            return KeyState.EXPIRED
        return KeyState.ACTIVE

    @property
    def subject(self) -> str:
        """The name under which control entries end its streams."""
        return f"key:{self.pk}"

    def revoke(self) -> None:
        """For good. A key that was revoked before keeps its date."""
        if self.revoked_at is None:
            self.revoked_at = timezone.now()
            self.save(update_fields=["revoked_at"])


class OutboxEvent(models.Model):
    """An event that waits to be published, or that could not be: one that was is deleted.

    Its columns hold whatever an event may be, and reading them never fails.
    """

    key = models.UUIDField(default=uuid.uuid4)
    topics = models.TextField(help_text="One on each line.")
    type = models.CharField(max_length=255, blank=True)
    name = models.CharField(max_length=255)
    data = models.BinaryField()
    is_text = models.BooleanField()
    retry = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    refused_at = models.DateTimeField(null=True)
    refusal = models.TextField(blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} ({self.topics})"


class OutboxLease(models.Model):
    """Who relays this database's outbox, and until when: one row."""

    holder = models.CharField(max_length=32, blank=True)
    expires_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.holder} until {self.expires_at}"

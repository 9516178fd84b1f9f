"""The models: the permissions to publish and to operate, API keys, and the outbox."""

import json
import uuid
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from notifications.errors import Invalid
from notifications.topics import parse_patterns

if TYPE_CHECKING:
    AnyField = models.Field[Any, Any]
else:  # `Field` is generic only in the type stubs
    AnyField = models.Field


class JsonTextField(AnyField):
    """A value that is stored as JSON text in any database.

    Not a `JSONField`: its system check opens an SQLite database at every start.
    """

    invalid = "This is not JSON."

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
            raise ValidationError(self.invalid) from None

    def value_to_string(self, obj: models.Model) -> str:
        return self.get_prep_value(self.value_from_object(obj))


class TextListField(JsonTextField):
    """A list of texts."""

    invalid = "This is not a list in JSON."


class Event(models.Model):
    """The content type of the permission to publish. It has no table: events are in the log."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = [("publish_event", "Can publish events")]

    def __str__(self) -> str:
        return "event"


class LiveStream(models.Model):
    """The permissions to see live streams, and to end them. It has no table."""

    class Meta:
        managed = False
        default_permissions = ("view", "change")

    def __str__(self) -> str:
        return "live stream"


class KeyState(StrEnum):
    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class ApiKey(models.Model):
    """An API key: its hash, which recognises the key and cannot be used in its place.

    Revoke or change a key by `save()` or `delete()`, because their signals end its streams.
    """

    name = models.CharField(max_length=100, help_text="The owner of the key, or its purpose.")
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
        errors = {}
        for field in ("subscribe", "publish"):
            try:
                parse_patterns(getattr(self, field))
            except Invalid as error:
                errors[field] = error.detail
        if not (errors or self.subscribe or self.publish):
            errors["subscribe"] = "A key needs a pattern to subscribe to, or one to publish to."
        if errors:
            raise ValidationError(errors)

    @property
    def state(self) -> KeyState:
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if self.expires_at is not None and self.expires_at <= timezone.now():
            return KeyState.EXPIRED
        return KeyState.ACTIVE

    @property
    def subject(self) -> str:
        """The name under which a control entry ends the key's streams."""
        return f"key:{self.pk}"

    def revoke(self) -> None:
        """Ends the key for good. A key that was revoked before keeps its date."""
        if self.revoked_at is None:
            self.revoked_at = timezone.now()
            self.save(update_fields=["revoked_at"])


class OutboxEvent(models.Model):
    """An event that waits to be published, or that was refused. A published one is deleted.

    With `per_topic` it is one for each topic, so that thousands of people cost few rows.

    The columns can hold any valid event, and reading them never fails.
    """

    key = models.UUIDField(default=uuid.uuid4)
    topics = models.TextField(help_text="One on each line.")
    type = models.CharField(max_length=255, blank=True)
    name = models.CharField(max_length=255)
    data = models.BinaryField()
    is_text = models.BooleanField()
    retry = models.PositiveIntegerField(null=True)
    # With a default in the database, since processes of the version before insert rows as well
    # while a site is updated.
    swap = models.CharField(max_length=300, blank=True, default="", db_default="")
    # Then `data` is a list in JSON, with null for each topic whose event has been published.
    per_topic = models.BooleanField(
        default=False, db_default=False, help_text="Each topic has an event of its own."
    )
    created_at = models.DateTimeField(default=timezone.now)
    refused_at = models.DateTimeField(null=True)
    refusal = models.TextField(blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} ({self.topics})"


class OutboxLease(models.Model):
    """The process that relays this database's outbox, and until when: one row."""

    holder = models.CharField(max_length=32, blank=True)
    expires_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.holder} until {self.expires_at}"

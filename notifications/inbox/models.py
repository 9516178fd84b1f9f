"""The rows of the inbox: notifications, and the last number that one was given."""

import uuid
from datetime import time
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.utils import timezone

from notifications.events import compact_json
from notifications.inbox.channels import (
    MAX_CHANNEL_CHARACTERS,
    MAX_ENDPOINT_CHARACTERS,
    Channel,
    Digest,
)
from notifications.inbox.delivery.states import MAX_REASON_CHARACTERS, DeliveryState
from notifications.inbox.ids import new_id
from notifications.inbox.indexes import IndexWithoutNulls, UniqueWithoutNulls
from notifications.inbox.states import (
    MAX_CATEGORY_CHARACTERS,
    MAX_NAME_CHARACTERS,
    Priority,
    State,
)
from notifications.models import JsonTextField

MAX_KEY_CHARACTERS = 190
"""Of `group` and `replaces`: an index of MariaDB takes 191 characters beside a primary key."""
MAX_URL_CHARACTERS = 2_000


def _words(options: type[StrEnum]) -> list[tuple[str, str]]:
    return [(str(option), str(option)) for option in options]


class ParamsField(JsonTextField):
    """A dict, stored as JSON text in any database, with the types that Django's encoder knows."""

    def get_prep_value(self, value: Any) -> str:
        return compact_json(value)


class Notification(models.Model):
    """What one person is told, and what became of it.

    Change notifications by `notify`, `mark` and `withdraw`: each change is also an event, so that
    every page of the person shows it. `version` grows with each change.

    `number` is the place in the person's list, which the relay gives when it publishes the
    notification: ids and times do not follow the order of commits. Until then the notification is
    `pending` and in no list; one that is replaced keeps its place meanwhile.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False
    )
    number = models.BigIntegerField(null=True, editable=False)
    pending = models.BooleanField(default=True, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    state = models.PositiveSmallIntegerField(choices=State.choices, default=State.UNSEEN)
    kind = models.CharField(max_length=MAX_NAME_CHARACTERS)
    category = models.CharField(max_length=MAX_CATEGORY_CHARACTERS, blank=True)
    priority = models.PositiveSmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)
    params = ParamsField(default=dict, blank=True)
    actor_type = models.ForeignKey(
        ContentType, models.SET_NULL, null=True, related_name="+", db_index=False
    )
    actor_id = models.CharField(max_length=255, blank=True)
    actor = GenericForeignKey("actor_type", "actor_id")
    target_type = models.ForeignKey(
        ContentType, models.SET_NULL, null=True, related_name="+", db_index=False
    )
    target_id = models.CharField(max_length=255, blank=True)
    target = GenericForeignKey("target_type", "target_id")
    url = models.CharField(max_length=MAX_URL_CHARACTERS, blank=True)
    group = models.CharField(max_length=MAX_KEY_CHARACTERS, blank=True)
    # Null where it replaces nothing, since only nulls may be many.
    replaces = models.CharField(max_length=MAX_KEY_CHARACTERS, null=True)  # noqa: DJ001
    created_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(null=True)
    read_at = models.DateTimeField(null=True)
    archived_at = models.DateTimeField(null=True)
    withdrawn_at = models.DateTimeField(null=True)
    expired_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [
            UniqueWithoutNulls(fields=["recipient", "replaces"], name="carillon_one_to_replace")
        ]
        indexes = [
            models.Index(fields=["recipient", "number"], name="carillon_list"),
            models.Index(fields=["recipient", "state", "category"], name="carillon_counts"),
            models.Index(fields=["created_at"], name="carillon_created"),
            # Each change of a row writes to all of its indexes.
            IndexWithoutNulls(fields=["actor_type", "actor_id"], name="carillon_actors"),
            IndexWithoutNulls(fields=["target_type", "target_id"], name="carillon_targets"),
            IndexWithoutNulls(fields=["expires_at"], name="carillon_expiry"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} for {self.recipient_id}"


class LastNumber(models.Model):
    """The last `number` that the relay of this database has given to a notification: one row."""

    number = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.number)


class Delivery(models.Model):
    """That a notification is to reach its person by another channel, and what became of it.

    A row without a notification is a digest, of the rows whose `digest` is its id. Who sends a row
    has leased it before, and the rows of one who was killed are free when the lease has expired.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False
    )
    channel = models.CharField(max_length=MAX_CHANNEL_CHARACTERS, choices=_words(Channel))
    # Without a constraint: on InnoDB its checks make transactions wait that delete other rows.
    notification = models.ForeignKey(
        Notification, models.DO_NOTHING, null=True, related_name="+", db_constraint=False
    )
    about = models.DateTimeField(
        null=True, help_text="When the notification was written that this is about."
    )
    digest = models.UUIDField(null=True, db_index=True)
    digest_at = models.DateTimeField(null=True)
    state = models.PositiveSmallIntegerField(
        choices=DeliveryState.choices, default=DeliveryState.WAITING
    )
    reason = models.CharField(max_length=MAX_REASON_CHARACTERS, blank=True)
    detail = models.TextField(blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    reached = JsonTextField(default=list, blank=True)
    holder = models.CharField(max_length=32, blank=True)
    leased_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["recipient", "channel", "digest_at"], name="carillon_one_digest"
            )
        ]
        indexes = [models.Index(fields=["state", "due_at"], name="carillon_due")]

    def __str__(self) -> str:
        return f"{self.channel} to {self.recipient_id}: {DeliveryState(self.state).name.lower()}"


class Device(models.Model):
    """A browser that takes push messages for a person: a push subscription (W3C Push API).

    Whoever knows the endpoint may send to it what the keys encrypt, so neither is shown.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    recipient = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    endpoint = models.CharField(max_length=MAX_ENDPOINT_CHARACTERS)
    # An index of MariaDB takes no text as long as the endpoint.
    endpoint_hash = models.CharField(max_length=64, unique=True)
    p256dh = models.CharField(max_length=100)
    auth = models.CharField(max_length=32)
    key = models.CharField(max_length=100, help_text="The site's, with which it has subscribed.")
    confirmed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"a device of {self.recipient_id}"


class Preference(models.Model):
    """That a person has switched a channel on or off, for one category."""

    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False
    )
    category = models.CharField(max_length=MAX_CATEGORY_CHARACTERS, blank=True)
    channel = models.CharField(max_length=MAX_CHANNEL_CHARACTERS, choices=_words(Channel))
    is_on = models.BooleanField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["recipient", "category", "channel"], name="carillon_one_preference"
            )
        ]

    def __str__(self) -> str:
        return f"{self.category} by {self.channel}: {'on' if self.is_on else 'off'}"


class Schedule(models.Model):
    """When a person wants to be reached elsewhere than in the inbox. Without a row: at any time."""

    recipient = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="+"
    )
    time_zone = models.CharField(max_length=64, blank=True)
    quiet_from = models.TimeField(null=True)
    quiet_until = models.TimeField(null=True)
    digest = models.CharField(max_length=10, choices=_words(Digest), default=Digest.OFF)
    digest_at = models.TimeField(default=time(8))
    digest_weekday = models.PositiveSmallIntegerField(default=1, help_text="1 is Monday.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"the schedule of {self.recipient_id}"

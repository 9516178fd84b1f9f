"""The tables of other packages, to be read once. They are read whether the package is installed."""

from functools import cache
from typing import Any

from django.apps.registry import Apps
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models


def _user(**options: Any) -> Any:
    return models.ForeignKey(get_user_model(), models.DO_NOTHING, related_name="+", **options)


def _content_type(**options: Any) -> Any:
    return models.ForeignKey(ContentType, models.DO_NOTHING, related_name="+", **options)


class Community(models.Model):
    """Of django-notifications-community, and of django-notifications-hq from version 1.0 on."""

    id = models.AutoField(primary_key=True)
    recipient = _user()
    level = models.CharField(max_length=20)
    unread = models.BooleanField()
    actor_content_type = _content_type()
    actor_object_id = models.CharField(max_length=255)
    verb = models.CharField(max_length=255)
    description = models.TextField(null=True)  # noqa: DJ001 - their column
    target_content_type = _content_type(null=True)
    target_object_id = models.CharField(max_length=255, null=True)  # noqa: DJ001
    target = GenericForeignKey("target_content_type", "target_object_id")
    action_object_content_type = _content_type(null=True)
    action_object_object_id = models.CharField(max_length=255, null=True)  # noqa: DJ001
    action_object = GenericForeignKey("action_object_content_type", "action_object_object_id")
    timestamp = models.DateTimeField()
    deleted = models.BooleanField(default=False)
    data = models.JSONField(null=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.verb


class Generic(models.Model):
    """Of django-generic-notifications."""

    id = models.BigAutoField(primary_key=True)
    recipient = _user()
    notification_type = models.CharField(max_length=50)
    added = models.DateTimeField()
    read = models.DateTimeField(null=True)
    subject = models.CharField(max_length=255)
    text = models.TextField()
    url = models.CharField(max_length=500)
    actor = _user(null=True)
    content_type = _content_type(null=True)
    object_id = models.CharField(max_length=36, null=True)  # noqa: DJ001
    target = GenericForeignKey("content_type", "object_id")
    metadata = models.JSONField(default=dict)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.notification_type


@cache
def model_of(source: type[models.Model], table: str) -> type[models.Model]:
    """A model of this table, in a registry of its own.

    So Django makes no migrations, permissions and reverse relations of it.
    """
    options = {"apps": Apps(), "app_label": "carillon_foreign", "db_table": table, "managed": False}
    body = {"__module__": __name__, "Meta": type("Meta", (), options)}
    made: type[models.Model] = type(source.__name__, (source,), body)
    return made

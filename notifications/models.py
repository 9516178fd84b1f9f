"""What the database holds: for now, the permission to publish."""

from django.db import models


class Event(models.Model):
    """Not a table: events are in the log. It is what the permission is about."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = [("publish_event", "Can publish events")]

    def __str__(self) -> str:
        return "event"

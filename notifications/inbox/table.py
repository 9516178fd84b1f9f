"""The rows of the inbox, for modules that are imported before the models are loaded."""

from typing import TYPE_CHECKING

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError, connections, router
from django.db.models import Model

from notifications.conf import get_settings

if TYPE_CHECKING:
    from django.contrib.auth.models import Group
    from django.contrib.contenttypes.models import ContentType
    from django.db.models import QuerySet

    from notifications.inbox.models import LastNumber, Notification

APP_LABEL = "carillon_inbox"
BATCH_ROWS = 1_000
"""How many rows are written, or asked for by their ids, by one query."""
AWAY_ERRORS = (OperationalError, InterfaceError)
"""What Django raises where a database cannot be reached; some also for a table that is missing."""


def notifications() -> "type[Notification]":
    """The model. Raises `ImproperlyConfigured` where the inbox is not installed."""
    try:
        return apps.get_model(APP_LABEL, "Notification")
    except LookupError:
        raise ImproperlyConfigured(
            "The inbox is not installed: add 'notifications.inbox' to INSTALLED_APPS, and run "
            "'manage.py migrate'."
        ) from None


def last_numbers() -> "type[LastNumber]":
    return apps.get_model(APP_LABEL, "LastNumber")


def groups() -> "type[Group]":
    return apps.get_model("auth", "Group")


def content_type(model: Model, using: str) -> "ContentType":
    """The content type of a model's own table, as generic foreign keys name it."""
    types: type[ContentType] = apps.get_model("contenttypes", "ContentType")
    return types.objects.db_manager(using).get_for_model(model)


def database() -> str:
    """The database of the inbox, in which its events are written too.

    Raises `ImproperlyConfigured` if no relay reads the outbox there.
    """
    using = router.db_for_write(notifications())
    if using not in get_settings().OUTBOX_DATABASES:
        raise ImproperlyConfigured(
            f"The inbox is in the database {using!r}, whose outbox no relay reads: add it to "
            "CARILLON['OUTBOX_DATABASES']."
        )
    return using


def rows(using: str | None = None) -> "QuerySet[Notification]":
    """The notifications on the primary: a replica may not have what a page is told of."""
    model = notifications()
    return model.objects.using(using or router.db_for_write(model))


def unlocked(found: "QuerySet[Notification]", using: str) -> "QuerySet[Notification]":
    """Lock these rows, without those that somebody has locked, where the database can do that."""
    can_skip = connections[using].features.has_select_for_update_skip_locked
    return found.select_for_update(skip_locked=can_skip)

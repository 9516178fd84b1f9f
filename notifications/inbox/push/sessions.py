"""Who logs out takes the devices of that session along: the next one there is somebody else."""

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth.signals import user_logged_out
from django.db import Error as DatabaseError
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest

from notifications.inbox.push.devices import MAX_DEVICES, devices
from notifications.inbox.table import database
from notifications.telemetry.logs import logger

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from notifications.inbox.models import Device

SESSION_KEY = "_carillon_devices"


def remember(request: HttpRequest, device: UUID) -> None:
    """Note in the session that its browser is this device."""
    session: Any = request.session
    known = [id for id in session.get(SESSION_KEY, []) if id != device.hex]
    session[SESSION_KEY] = [*known, device.hex][-MAX_DEVICES:]


class Subscribed(StrEnum):
    """Whether the browser of a session is one of its person's devices."""

    NOT_YET = ""
    NOW = "now"
    NO_MORE = "no-more"
    """Its person or its push service has ended that, or there were too many devices."""


def subscribed(request: HttpRequest) -> Subscribed:
    """Costs a query if the session has ever had a device."""
    session: Any = getattr(request, "session", None)
    if session is None or not (ids := session.get(SESSION_KEY)):
        return Subscribed.NOT_YET
    is_device = _devices(request.user, ids).exists()
    return Subscribed.NOW if is_device else Subscribed.NO_MORE


@receiver(user_logged_out, dispatch_uid="carillon.push")
def forget_devices(request: HttpRequest | None = None, user: Any = None, **_: Any) -> None:
    session: Any = getattr(request, "session", None)
    if session is None or user is None or not (ids := session.get(SESSION_KEY)):
        return
    try:
        with transaction.atomic(using=database()):  # also in one of the request, which goes on
            _devices(user, ids).delete()
    except DatabaseError:
        logger.exception("push.devices_not_forgotten")


def _devices(user: Any, ids: Iterable[str]) -> "QuerySet[Device]":
    mine = devices(database()).filter(recipient_id=user.pk)
    return mine.filter(pk__in=[UUID(hex=id) for id in ids])

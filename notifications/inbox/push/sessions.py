"""Who logs out takes the devices of that session along: the next person there is another one."""

from typing import Any
from uuid import UUID

from django.contrib.auth.signals import user_logged_out
from django.db import Error as DatabaseError
from django.dispatch import receiver
from django.http import HttpRequest

from notifications.inbox.push.devices import MAX_DEVICES, devices
from notifications.inbox.table import database
from notifications.telemetry.logs import logger

SESSION_KEY = "_carillon_devices"


def remember(request: HttpRequest, device: UUID) -> None:
    """Note in the session that its browser is this device."""
    session: Any = request.session
    known = [id for id in session.get(SESSION_KEY, []) if id != device.hex]
    session[SESSION_KEY] = [*known, device.hex][-MAX_DEVICES:]


def is_known(request: HttpRequest) -> bool:
    """Whether the browser of this session is a device."""
    session: Any = getattr(request, "session", None)
    return session is not None and bool(session.get(SESSION_KEY))


@receiver(user_logged_out, dispatch_uid="carillon.push")
def forget_devices(request: HttpRequest | None = None, user: Any = None, **_: Any) -> None:
    session: Any = getattr(request, "session", None)
    if session is None or user is None or not (ids := session.get(SESSION_KEY)):
        return
    try:
        mine = devices(database()).filter(recipient_id=user.pk)
        mine.filter(pk__in=[UUID(hex=id) for id in ids]).delete()
    except DatabaseError:
        logger.exception("push.devices_not_forgotten")

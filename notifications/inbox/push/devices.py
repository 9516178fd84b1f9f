"""The devices that take push messages: which of whom, and where their push services are."""

import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from django.apps import apps
from django.db import transaction
from django.db.models import Model
from django.utils import timezone

from notifications.conf import get_settings
from notifications.errors import Invalid
from notifications.inbox.push.offer import browser_key
from notifications.inbox.table import APP_LABEL, database

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from notifications.inbox.models import Device

MAX_DEVICES = 20
"""Of one person; the oldest give way."""
_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+/[!-~]*")
"""Of which every program that reads it sees the same host."""
DEFAULT_PORTS = {"http": 80, "https": 443}


def devices(using: str) -> "QuerySet[Device]":
    model: type[Device] = apps.get_model(APP_LABEL, "Device")
    return model.objects.using(using)


def devices_to_reach(recipient_id: Any, using: str) -> "Sequence[Device]":
    """Those that have subscribed with the key that the site has now."""
    found = devices(using).filter(recipient_id=recipient_id, key=browser_key())
    return list(found.order_by("confirmed_at", "pk"))


def describe(user: Model, using: str) -> list[dict[str, Any]]:
    """What is stored of a user's devices, without the secrets by which to send to them."""
    return [
        {"push_service": urlsplit(each.endpoint).hostname, "confirmed_at": each.confirmed_at}
        for each in devices(using).filter(recipient_id=user.pk).order_by("confirmed_at", "pk")
    ]


def subscribe(user: Model, *, endpoint: str, p256dh: str, auth: str) -> UUID:
    """Have this device get the push messages of a user, and of nobody else; return its id.

    Raises `Invalid` for a push service that is none of `PUSH_SERVICES`.
    """
    check_endpoint(endpoint)
    using = database()
    # What another person had from this browser: whoever is logged in now has it.
    columns = {
        "recipient_id": user.pk,
        "endpoint": endpoint,
        "p256dh": p256dh,
        "auth": auth,
        "key": browser_key(),
        "confirmed_at": timezone.now(),
    }
    device, _ = devices(using).update_or_create(endpoint_hash=_hash(endpoint), defaults=columns)
    with transaction.atomic(using=using):
        newest = devices(using).filter(recipient_id=user.pk).order_by("-confirmed_at", "-pk")
        surplus = list(newest.values_list("pk", flat=True)[MAX_DEVICES:])
        devices(using).filter(pk__in=surplus).delete()
    return device.pk


def unsubscribe(user: Model, endpoint: str | None = None) -> None:
    """End the subscription of one device of the user, or of all. Repeating changes nothing."""
    mine = devices(database()).filter(recipient_id=user.pk)
    if endpoint is not None:
        mine = mine.filter(endpoint_hash=_hash(endpoint))
    mine.delete()


def count(user: Model) -> int:
    return devices(database()).filter(recipient_id=user.pk).count()


def forget(ids: Collection[UUID], using: str) -> None:
    devices(using).filter(pk__in=ids).delete()


def _hash(endpoint: str) -> str:
    return sha256(endpoint.encode()).hexdigest()


# Push services. The server sends to the address that a person gave, so it may not be any address.


def check_endpoint(endpoint: str) -> None:
    """Raises `Invalid` unless this is an address at a push service that the site trusts."""
    try:
        origin = origin_of(urlsplit(endpoint)) if _URL.fullmatch(endpoint) else ""
    except ValueError:
        origin = ""
    services = get_settings().PUSH_SERVICES
    if not any(fnmatchcase(origin, service) for service in services):
        raise Invalid(
            "The endpoint is at no push service that this site sends to: see PUSH_SERVICES.",
            field="endpoint",
        )


def origin_of(url: SplitResult) -> str:
    """The origin as RFC 6454 §6.2 writes it. Raises `ValueError` for a port that is none."""
    port = "" if url.port in (None, DEFAULT_PORTS.get(url.scheme)) else f":{url.port}"
    host = url.hostname or ""
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}{port}"

"""Encrypts push messages (RFC 8291) and says whose they are (RFC 8292), both by `webpush`.

This module needs `django-carillon[push]`, so it is imported only where a message is sent.
"""

import time
from email.utils import parseaddr
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import jwt
from django.conf import settings as django_settings
from pydantic import AnyHttpUrl
from webpush import WebPush, WebPushSubscription
from webpush.types import WebPushKeys

from notifications.inbox.delivery.email import site_url
from notifications.inbox.push import keys
from notifications.inbox.push.devices import origin_of

if TYPE_CHECKING:
    from notifications.inbox.models import Device

TOKEN_SECONDS = 12 * 60 * 60
"""How long a push service may believe that a message is ours: a day at most (RFC 8292 §2)."""


class SiteVapid:
    """Names the push service by its whole origin, and the site by any URI (RFC 8292 §2).

    In the place of the library's own, which leaves out the port, and knows mailboxes only.
    """

    def __init__(self, key: str) -> None:
        self._private, self._public = keys.private_pem(key), keys.application_server_key(key)

    def get_authorization_header(
        self, endpoint: AnyHttpUrl, subscriber: str, expiration: int
    ) -> str:
        claims = {
            "aud": origin_of(urlsplit(str(endpoint))),
            "exp": int(time.time()) + expiration,
            "sub": subscriber,
        }
        return f"vapid t={jwt.encode(claims, self._private, 'ES256')}, k={self._public}"


class Encryption:
    """`contact` is where a push service finds the operator of the site."""

    def __init__(self, key: str, contact: str) -> None:
        self._push = WebPush(
            keys.private_pem(key),
            keys.public_pem(key),
            subscriber=contact,
            expiration=TOKEN_SECONDS,
        )
        self._push.vapid = SiteVapid(key)

    @classmethod
    def of_settings(cls) -> Self:
        """Raises `ImproperlyConfigured`."""
        return cls(keys.push_key(), contact())

    def encrypt(self, device: "Device", content: bytes) -> tuple[bytes, dict[str, str]]:
        """The body of a request to the device's push service, and its headers.

        Raises `ValueError` for a device whose keys are none.
        """
        subscription = WebPushSubscription(
            endpoint=AnyHttpUrl(device.endpoint),
            keys=WebPushKeys(p256dh=device.p256dh, auth=device.auth),
        )
        message = self._push.get(content, subscription)
        # The library has a TTL of its own, too, beside which that of the message would be a second.
        return message.encrypted, {
            "Content-Type": "application/octet-stream",
            "Content-Encoding": message.headers["content-encoding"],
            "Authorization": message.headers["authorization"],
        }


def contact() -> str:
    """Where a push service finds the operator of the site: an address, or a mailbox."""
    url = site_url()
    if url.startswith("https://"):
        return url
    return f"mailto:{parseaddr(django_settings.DEFAULT_FROM_EMAIL)[1]}"

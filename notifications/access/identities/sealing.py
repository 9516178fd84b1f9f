"""Sealed text: what only the processes of this site may read, for a way that others may see.

The log is such a way: a session key in it would let its readers into the session. Django signs and
does not encrypt, so this adds a key stream to Django's HMAC: encrypt, then authenticate.
"""

import hashlib
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode

from django.conf import settings as django_settings
from django.utils.crypto import constant_time_compare, salted_hmac

SALT = "carillon.sealed"
NONCE_BYTES = 16


def seal(text: str) -> str:
    nonce = secrets.token_bytes(NONCE_BYTES)
    secret = django_settings.SECRET_KEY
    encoded = urlsafe_b64encode(nonce + _encrypted(text.encode(), nonce, secret)).decode()
    return f"{encoded}.{_signature(encoded, secret)}"


def unseal(sealed: str) -> str | None:
    """None for what no process with the same `SECRET_KEY`, or a fallback of it, has sealed."""
    encoded, _, signature = sealed.partition(".")
    for secret in (django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS):
        if constant_time_compare(_signature(encoded, secret), signature):
            body = urlsafe_b64decode(encoded)
            return _encrypted(body[NONCE_BYTES:], body[:NONCE_BYTES], secret).decode()
    return None


def _encrypted(data: bytes, nonce: bytes, secret: str | bytes) -> bytes:
    """The same function encrypts and decrypts. A nonce is used once."""
    key = salted_hmac(f"{SALT}.key", nonce, secret=secret, algorithm="sha256").digest()
    stream = hashlib.shake_256(key).digest(len(data))
    return bytes(one ^ other for one, other in zip(data, stream, strict=True))


def _signature(text: str, secret: str | bytes) -> str:
    return salted_hmac(f"{SALT}.signature", text, secret=secret, algorithm="sha256").hexdigest()

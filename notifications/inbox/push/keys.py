"""The key by which push services know this site, and browsers its messages (VAPID, RFC 8292).

This module needs `django-carillon[push]`, so it is imported only where a message is sent or a key
is made or asked for.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from django.core.exceptions import ImproperlyConfigured

from notifications.conf import get_settings

CURVE = ec.SECP256R1()
KEY_BYTES = 32
POINT_BYTES, SECRET_BYTES = 65, 16


def push_key() -> str:
    """Raises `ImproperlyConfigured` where there is none."""
    key = get_settings().PUSH_KEY
    if key is None:
        raise ImproperlyConfigured(
            "CARILLON['PUSH_KEY'] is not set: make one by 'manage.py carillon push-key'."
        )
    return key


def make_key() -> str:
    """A new private key, as `CARILLON["PUSH_KEY"]` takes it: 43 characters of base64url."""
    number = ec.generate_private_key(CURVE).private_numbers().private_value
    return encoded(number.to_bytes(KEY_BYTES))


def private_key(key: str) -> ec.EllipticCurvePrivateKey:
    """Raises `ValueError` for what is no key."""
    return ec.derive_private_key(int.from_bytes(decoded(key)), CURVE)


def private_pem(key: str) -> bytes:
    return private_key(key).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: str) -> bytes:
    public = private_key(key).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def application_server_key(key: str) -> str:
    """What a page gives to `PushManager.subscribe`: the public key, an uncompressed point."""
    public = private_key(key).public_key()
    return encoded(public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def check_device_keys(p256dh: str, auth: str) -> None:
    """Raises `ValueError` unless a message can be encrypted for these keys (RFC 8291 §2)."""
    ec.EllipticCurvePublicKey.from_encoded_point(CURVE, _of(p256dh, POINT_BYTES))
    _of(auth, SECRET_BYTES)


def _of(text: str, count: int) -> bytes:
    content = decoded(text)
    if len(content) != count:
        raise ValueError(f"it has {len(content)} bytes and not {count}")
    return content


def encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """Raises `ValueError`."""
    unpadded = text.rstrip("=")
    return urlsafe_b64decode(unpadded + "=" * (-len(unpadded) % 4))

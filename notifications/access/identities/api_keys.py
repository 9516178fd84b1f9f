"""API keys: keys in the database, which have scopes, and keys in the settings, which publish."""

import hashlib
import hmac
import re
import secrets
import string
import time
from functools import lru_cache
from typing import Any

from django.db import Error as DatabaseError
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from notifications.access.identities.base import Identity, Kind, Scope
from notifications.access.identities.cache import CredentialCache
from notifications.conf import get_settings
from notifications.conf import namespace as namespaces
from notifications.errors import Invalid, Unauthenticated, Unavailable
from notifications.models import ApiKey, KeyState
from notifications.telemetry.logs import logger
from notifications.topics import Pattern, parse_patterns

PUBLISH_EVERYWHERE = Scope(publish=(Pattern("*"),))
KEY_PREFIX = "crl_"
_PREFIX_ALPHABET = string.ascii_lowercase + string.digits
_SECRET_ALPHABET = string.ascii_letters + string.digits
_PREFIX_LENGTH = 8
# 43 of 62 characters are 256 bits: nobody finds such a secret by trying, however fast the hash is.
# A slow hash protects passwords, which people choose; here it would only slow down publishing.
_SECRET_LENGTH = 43
_KEY = re.compile(
    rf"{KEY_PREFIX}([a-z0-9]{{{_PREFIX_LENGTH}}})_[A-Za-z0-9]{{{_SECRET_LENGTH}}}", re.ASCII
)

_cache = CredentialCache()


def issue(key: ApiKey) -> str:
    """Gives a new key its secret, and returns the key as text. Does not save the key.

    The text cannot be had again: the database keeps only a hash of it. The key is valid in the
    namespace of the caller alone, also where tenants share the table.
    """
    if key.digest:
        raise ValueError("This key has been issued before.")
    key.prefix = _random_text(_PREFIX_ALPHABET, _PREFIX_LENGTH)
    text = f"{KEY_PREFIX}{key.prefix}_{_random_text(_SECRET_ALPHABET, _SECRET_LENGTH)}"
    key.digest = _digest(text, namespaces.current())
    return text


def is_own(text: str) -> bool:
    """Whether the text has the form of a key of ours, or is one of the settings."""
    return text.startswith(KEY_PREFIX) or _is_configured(text)


async def authenticate_key(text: str, *, namespace: str = "") -> Identity:
    """The identity of a key.

    Raises `Unauthenticated` in the same words for every key that is not valid now, and
    `Unavailable` where the database cannot be read.
    """
    identity = _configured_identity(_configured_name(text)) if _is_configured(text) else None
    if identity is None and (match := _KEY.fullmatch(text)):
        digest = _digest(text, namespace)
        identity = _cache.get(digest) or await _look_up(match[1], digest)
    if identity is None or identity.is_over(time.time()):
        raise Unauthenticated("This key is not known, or is no longer valid.")
    return identity


async def reauthenticate(identity: Identity) -> Identity | None:
    """The same key with its present scope, read from the database. None where the key has ended.

    Raises `Unavailable`.
    """
    if identity.credentials is None:
        names = map(_configured_name, get_settings().PUBLISH_KEYS)
        return _configured_identity(identity.name) if identity.name in names else None
    key = await _read(pk=int(identity.credentials))
    return None if key is None else _stored_identity(key)


def forget(subject: str) -> None:
    """Makes the next request with this key read the database."""
    _cache.forget(subject)


def _random_text(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _digest(text: str, namespace: str = "") -> str:
    # The text of a request may have lone surrogates, which UTF-8 cannot encode.
    content = namespaces.scoped(namespace, text).encode(errors="surrogatepass")
    return hashlib.sha256(content).hexdigest()


# Keys in the settings


def _is_configured(text: str) -> bool:
    key = text.encode(errors="surrogatepass")
    # Every key is compared, so that the duration does not reveal which one came close.
    matches = [hmac.compare_digest(key, known.encode()) for known in get_settings().PUBLISH_KEYS]
    return any(matches)


def _configured_name(text: str) -> str:
    return f"key:{_digest(text)[:16]}"


@lru_cache(maxsize=64)
def _configured_identity(name: str) -> Identity:
    return Identity(kind=Kind.KEY, name=name, subjects=(name,), scope=PUBLISH_EVERYWHERE)


# Keys in the database


async def _look_up(prefix: str, digest: str) -> Identity | None:
    generation = _cache.generation
    key = await _read(prefix=prefix)
    if key is None or not hmac.compare_digest(key.digest, digest):
        return None
    identity = _stored_identity(key)
    if identity is None:
        return None
    _cache.add(digest, identity, generation=generation)
    return identity


async def _read(**lookup: Any) -> ApiKey | None:
    try:
        return await ApiKey.objects.aget(**lookup)
    except ApiKey.DoesNotExist:
        return None
    except DatabaseError as error:
        logger.exception("keys.unreadable")
        raise Unavailable("The keys cannot be read now.", outcome="not_sent") from error


def _stored_identity(key: ApiKey) -> Identity | None:
    """None for a key that has ended, or whose patterns are invalid: `save` does not check them."""
    if key.state is not KeyState.ACTIVE:
        return None
    try:
        scope = Scope(subscribe=parse_patterns(key.subscribe), publish=parse_patterns(key.publish))
    except Invalid as error:
        logger.warning("keys.invalid", prefix=key.prefix, error=error.detail)
        return None
    return Identity(
        kind=Kind.KEY,
        name=f"key:{key.prefix}",
        subjects=(key.subject,),
        until=None if key.expires_at is None else key.expires_at.timestamp(),
        scope=scope,
        credentials=str(key.pk),
    )


@receiver([post_save, post_delete], sender=ApiKey)
def _forget_changed_key(*, instance: ApiKey, **_: Any) -> None:
    """Takes effect in this process at once.

    Other processes forget the key on a control entry, or when their cached entry is too old.
    """
    forget(instance.subject)

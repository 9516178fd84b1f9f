"""API keys: those in the database, with their scopes, and those in the settings, which publish."""

import hashlib
import hmac
import logging
import re
import secrets
import string
import time
from typing import Any

from django.db import Error as DatabaseError
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from notifications.access.identities.base import Identity, Kind, Scope
from notifications.access.identities.cache import Verified
from notifications.conf import get_settings
from notifications.errors import Invalid, Unauthenticated, Unavailable
from notifications.models import ApiKey, KeyState
from notifications.topics import Pattern, patterns

logger = logging.getLogger("carillon")

EVERYTHING = Scope(publish=(Pattern("*"),))
_PREFIX_ALPHABET = string.ascii_lowercase + string.digits
_SECRET_ALPHABET = string.ascii_letters + string.digits
_PREFIX_LENGTH = 8
# 43 of 62 characters are 256 bits: nobody finds them by trying, however fast the hash is. A slow
# one is for passwords, which people choose; here it would only make publishing slow.
_SECRET_LENGTH = 43
_FORM = re.compile(rf"crl_([a-z0-9]{{{_PREFIX_LENGTH}}})_[A-Za-z0-9]{{{_SECRET_LENGTH}}}", re.ASCII)

_verified = Verified()


def issue(key: ApiKey) -> str:
    """Gives a new key its secret, and returns the whole as text: this once, since it is not kept.

    The key is not saved yet.
    """
    if key.digest:
        raise ValueError("This key has been issued before.")
    key.prefix = _random(_PREFIX_ALPHABET, _PREFIX_LENGTH)
    text = f"crl_{key.prefix}_{_random(_SECRET_ALPHABET, _SECRET_LENGTH)}"
    key.digest = _digest(text)
    return text


async def by_key(text: str) -> Identity:
    """Whose key it is. Raises `Unauthenticated`, for all that is not valid now in the same words,
    and `Unavailable` where the database cannot tell."""
    identity = _by_setting(text)
    if identity is None and (found := _FORM.fullmatch(text)):
        digest = _digest(text)
        identity = _verified.get(digest) or await _look_up(found[1], digest)
    if identity is None or _is_over(identity):
        raise Unauthenticated("This key is not known, or is valid no longer.")
    return identity


async def renewed(identity: Identity) -> Identity | None:
    """What the same key allows now, out of the database. None where it has ended.

    Raises `Unavailable`.
    """
    if identity.credentials is None:
        known = (_of_setting(_name(each)) for each in get_settings().PUBLISH_KEYS)
        return next((each for each in known if each.name == identity.name), None)
    key = await _read(pk=int(identity.credentials))
    return None if key is None else _identity(key)


def forget(subject: str) -> None:
    """The next request with this key asks the database."""
    _verified.forget(subject)


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _digest(text: str) -> str:
    # What arrives may be any text, and one that cannot be encoded is none of ours.
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _name(text: str) -> str:
    return f"key:{_digest(text)[:16]}"


def _by_setting(text: str) -> Identity | None:
    given = text.encode(errors="surrogatepass")
    # Every key is compared, so that time tells nothing about which one came close.
    matches = [hmac.compare_digest(given, known.encode()) for known in get_settings().PUBLISH_KEYS]
    return _of_setting(_name(text)) if any(matches) else None


def _of_setting(name: str) -> Identity:
    return Identity(kind=Kind.KEY, name=name, subjects=(name,), scope=EVERYTHING)


async def _look_up(prefix: str, digest: str) -> Identity | None:
    generation = _verified.generation
    key = await _read(prefix=prefix)
    if key is None or not hmac.compare_digest(key.digest, digest):
        return None
    identity = _identity(key)
    if identity is None:
        return None
    _verified.add(digest, identity, generation=generation)
    return identity


async def _read(**which: Any) -> ApiKey | None:
    try:
        return await ApiKey.objects.aget(**which)
    except ApiKey.DoesNotExist:
        return None
    except DatabaseError as error:
        logger.exception("keys.unreadable")
        raise Unavailable("The keys cannot be read now.", outcome="not_sent") from error


def _identity(key: ApiKey) -> Identity | None:
    """None for a key that has ended, or that was saved without being looked at."""
    if key.state is not KeyState.ACTIVE:
        return None
    try:
        scope = Scope(subscribe=patterns(key.subscribe), publish=patterns(key.publish))
    except Invalid as error:
        logger.warning("keys.invalid prefix=%s: %s", key.prefix, error.detail)
        return None
    return Identity(
        kind=Kind.KEY,
        name=f"key:{key.prefix}",
        subjects=(key.subject,),
        until=None if key.expires_at is None else key.expires_at.timestamp(),
        scope=scope,
        credentials=str(key.pk),
    )


def _is_over(identity: Identity) -> bool:
    return identity.until is not None and identity.until <= time.time()


@receiver([post_save, post_delete], sender=ApiKey)
def _forget_changed(*, instance: ApiKey, **_: Any) -> None:
    """In this process, at once; in the others by a control entry, or by `Verified`'s age."""
    forget(instance.subject)

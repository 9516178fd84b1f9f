"""Continuation: a stream that was interrupted goes on with what its permissions were, for a while.

The log remembers the stream, under a name that only the browser's session and the same topics lead
to, and forgets it where a control entry names the stream's user, session or topics. Everything here
is signed: who can write to Redis can make no permission.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.crypto import constant_time_compare, salted_hmac

from notifications.access.identities.base import Identity, Kind
from notifications.access.identities.session import credentials_of
from notifications.access.identities.session_life import SessionLife
from notifications.conf import get_settings
from notifications.conf.namespace import Namespace, log_subject, log_topics
from notifications.hub.ended import Found
from notifications.hub.grants import Grant, topic_subject
from notifications.log.cursors import format_position
from notifications.log.ended import EndedStream
from notifications.log.entries import EVERYONE

SALT = "carillon.continuation"
NAME_CHARACTERS = 40


# The name


def name_of(session_key: str, namespace: Namespace, topics: Sequence[str]) -> str:
    """`topics` are those that the request names: none for the user's own topic."""
    content = "\n".join((session_key, namespace, *topics))
    return _hmac("name", content)[:NAME_CHARACTERS]


def _hmac(purpose: str, content: str) -> str:
    return hmac.digest(_key(purpose), content.encode(), "sha256").hex()


@cache
def _key(purpose: str) -> bytes:
    """It follows from `SECRET_KEY` and from what decides about permissions here."""
    salt = f"{SALT}.{purpose}"
    return salted_hmac(salt, _deciders(), algorithm="sha256").digest()


DECIDING_SETTINGS = (
    *("AUTH_USER_MODEL", "AUTHENTICATION_BACKENDS", "MIDDLEWARE"),
    *("SESSION_ENGINE", "SESSION_COOKIE_AGE"),
)


def _deciders() -> str:
    """A digest of the settings and the module that decide: a deploy may bring other rules."""
    own = get_settings()
    settings = [getattr(django_settings, name) for name in DECIDING_SETTINGS]
    settings += [own.ACCESS, own.PUBLIC_TOPICS, own.SHARED_TOPICS, own.NAMESPACE]
    digest = hashlib.sha256(repr(settings).encode())
    module = find_spec(own.ACCESS.rpartition(".")[0]) if own.ACCESS else None
    if module is not None and module.origin is not None and Path(module.origin).is_file():
        digest.update(Path(module.origin).read_bytes())
    return digest.hexdigest()


@receiver(setting_changed)
def _forget(**_: object) -> None:
    _key.cache_clear()


# What is remembered


def ended_stream(name: str, identity: Identity, grant: Grant, *, age: float) -> EndedStream | None:
    """What is remembered of a stream of this identity; None if it must not go on.

    A grant without `as_of` was never confirmed as of a position, and a denied topic may be allowed
    by now.
    """
    if identity.life is None or grant.denied or grant.as_of is None:
        return None
    ends = min(identity.life.ends, identity.life.ends if grant.until is None else grant.until)
    namespace = grant.namespace
    subjects = (
        *grant.log_subjects,
        *map(topic_subject, log_topics(namespace, grant.topics)),
        *dict.fromkeys((EVERYONE, log_subject(namespace, EVERYONE))),
    )
    content = {
        "by": identity.name,
        "subjects": grant.subjects,
        "topics": grant.topics,
        "since": dict(grant.since),
        "until": ends,
        "life": identity.life,
        "age": age,
        "keep": get_settings().CONTINUE_AGE,
    }
    stream = EndedStream(name, grant.as_of, subjects, json.dumps(content))
    return EndedStream(name, grant.as_of, subjects, f"{_signature(stream)}.{stream.body}")


def _signature(stream: EndedStream) -> str:
    position = format_position(stream.as_of.position)
    content = (stream.name, stream.as_of.epoch, position, stream.body, *stream.subjects)
    return _hmac("signature", "\n".join(content))


# Continuing


def continued(
    found: Found, session_key: str, namespace: Namespace
) -> tuple[Identity, Grant] | None:
    """The identity and the grant of a stream that goes on; None if the database has to be asked.

    The grant has no `renew` yet, and was confirmed when the database was asked last.
    """
    stream = found.recalled.stream
    signature, _, body = stream.body.partition(".")
    unsigned = EndedStream(stream.name, stream.as_of, stream.subjects, body)
    if not constant_time_compare(signature, _signature(unsigned)):
        return None
    content = json.loads(body)
    left, keep = found.recalled.left, content["keep"]
    age = content["age"] + keep - left
    if (
        not 0 < left <= keep
        or age >= get_settings().GRANT_MAX_AGE
        or content["until"] <= time.time()
    ):
        return None
    subjects = tuple(content["subjects"])
    identity = Identity(
        kind=Kind.SESSION,
        name=content["by"],
        subjects=subjects,
        credentials=credentials_of(session_key),
        life=SessionLife(*content["life"]),
        namespace=namespace,
    )
    grant = Grant(
        topics=tuple(content["topics"]),
        since=content["since"],
        subjects=subjects,
        until=content["until"],
        as_of=stream.as_of,
        namespace=namespace,
        confirmed=found.asked - age,
    )
    return identity, grant

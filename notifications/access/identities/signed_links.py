"""Signed subscribe links: an `EventSource` cannot send a header, but it opens any URL.

A link contains its topics, its expiry, and possibly the user it was made for. Everybody who has the
link may subscribe to these topics until then, as that user, on any origin. Django's signer signs
it, so `SECRET_KEY_FALLBACKS` are honoured.
"""

import hashlib
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, Signer
from django.db import Error as DatabaseError
from django.urls import reverse
from django.utils.crypto import constant_time_compare

from notifications.access.identities.base import Identity, Kind, Scope, User
from notifications.conf import get_settings
from notifications.conf import namespace as namespaces
from notifications.errors import Forbidden, Invalid, Unauthenticated, Unavailable
from notifications.hub.grants import user_subject
from notifications.topics import parse_topics

VERSION = 1
SALT = "carillon.link"
PARAMETER = "link"
# Shorter than the longest target that the view accepts, so that a client can append its cursor.
MAX_CHARACTERS = 7_500


@dataclass(frozen=True, slots=True)
class Link:
    """The content of a link. `pk` and `digest` are empty if it is not bound to a user.

    `digest` changes with the user's password.
    """

    until: int
    topics: tuple[str, ...]
    pk: str = ""
    digest: str = ""

    def sign(self, *, namespace: str = "") -> str:
        content = [VERSION, self.until, self.topics, self.pk, self.digest]
        return _signer(namespace).sign_object(content, compress=True)

    @classmethod
    def parse(cls, text: str, *, namespace: str = "") -> "Link":
        """Raises `Unauthenticated` for a text that this site did not sign in this namespace."""
        if len(text) > MAX_CHARACTERS:
            raise Unauthenticated("The link is too long to be one of ours.")
        try:
            version, *content = _signer(namespace).unsign_object(text)
        except (BadSignature, ValueError):
            raise Unauthenticated("The link was not made here, or was changed.") from None
        if version != VERSION:
            raise Unauthenticated("The link was made by another version: fetch a new one.")
        until, topics, pk, digest = content
        return cls(until, tuple(topics), pk, digest)


def _signer(namespace: str) -> Signer:
    return Signer(salt=namespaces.scoped(namespace, SALT))


def events_url(
    *topics: str,
    user: User | None = None,
    expires_in: float | timedelta | None = None,
    since: str = "",
    envelope: bool = False,
    dialect: str = "",
) -> str:
    """The URL, without its host, of a stream of these topics for everybody who has the URL.

    The URL grants the topics: the caller has to decide first whether its reader may subscribe to
    them. Bound to a user, it ends when the user is deactivated or changes their password. It can be
    opened for `expires_in` seconds (by default `LINK_AGE`). `dialect`: the `as` of an HTML stream.
    Raises `Invalid`.
    """
    link = Link(_expiry(expires_in), parse_topics(topics), *_binding(user))
    query = {PARAMETER: link.sign(namespace=namespaces.current())}
    if since:
        query["since"] = since
    if envelope:
        query["envelope"] = "1"
    if dialect:
        query["as"] = dialect
    url = f"{reverse('carillon:events')}?{urlencode(query, safe=':')}"
    if len(url) > MAX_CHARACTERS:
        raise Invalid(
            f"These topics make a link of {len(url)} characters; at most {MAX_CHARACTERS} are "
            "read. Publish to a topic that stands for several.",
            field="topic",
        )
    return url


async def authenticate_link(
    text: str, *, visitor: User | None = None, namespace: str = ""
) -> Identity:
    """The user of a link, or an anonymous user, with the link's topics as the scope.

    Raises `Unauthenticated` for a link that is not valid now, `Forbidden` where the `visitor`, the
    user of the request's session, is not the link's user, and `Unavailable`.
    """
    link = Link.parse(text, namespace=namespace)
    if link.until <= time.time():
        raise Unauthenticated("The link has expired: fetch a new one.")
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    bound: dict[str, Any] = {}
    subjects = [f"link:{digest}"]
    if link.pk:
        if visitor is not None and visitor.is_authenticated and str(visitor.pk) != link.pk:
            raise Forbidden("The link was made for another user.")
        bound["user"] = user = await _user(link)
        subjects.append(user_subject(user.pk))
    return Identity(
        kind=Kind.LINK,
        name=f"link:{digest}",
        subjects=tuple(subjects),
        until=link.until,
        scope=Scope(topics=link.topics),
        credentials=text,
        **bound,
    )


async def reauthenticate(identity: Identity) -> Identity | None:
    """The same identity, if the link is still valid, or None. Raises `Unavailable`."""
    try:
        return await authenticate_link(identity.credentials or "", namespace=identity.namespace)
    except Unauthenticated:
        return None


def _expiry(expires_in: float | timedelta | None) -> int:
    if expires_in is None:
        expires_in = get_settings().LINK_AGE
    seconds = expires_in.total_seconds() if isinstance(expires_in, timedelta) else expires_in
    if seconds <= 0:
        raise Invalid(f"A link cannot expire in {seconds} seconds.", field="expires_in")
    return int(time.time() + seconds)


def _binding(user: User | None) -> tuple[str, str]:
    if not (isinstance(user, AbstractBaseUser) and user.is_authenticated):
        return "", ""
    if not str(user.pk):
        raise Invalid("A link cannot name a user whose primary key is empty.", field="user")
    return str(user.pk), _digest(user.get_session_auth_hash())


def _digest(auth_hash: str) -> str:
    """A hash of the auth hash, because sessions are verified by the auth hash itself."""
    return hashlib.sha256(f"{SALT}.{auth_hash}".encode()).hexdigest()[:16]


async def _user(link: Link) -> AbstractBaseUser:
    users = get_user_model()._default_manager  # noqa: SLF001 - documented
    try:
        user = await users.filter(pk=link.pk).afirst()
    except (ValueError, ValidationError):
        user = None  # the link is older than the user model, whose primary keys were others
    except DatabaseError as error:
        raise Unavailable("The link's user cannot be read now.", outcome="not_sent") from error
    if user is None or not user.is_active or not _has_digest(user, link.digest):
        raise Unauthenticated("The link's user has left, or has changed their password.")
    return user


def _has_digest(user: AbstractBaseUser, digest: str) -> bool:
    auth_hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(_digest(auth_hash), digest) for auth_hash in auth_hashes)

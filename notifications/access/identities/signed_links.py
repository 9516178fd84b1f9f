"""Signed subscribe links: an `EventSource` sends no header, but it opens any URL.

A link names its topics, its end, and the user it was made for, if any; whoever has it may hear
these topics until then, as that user, on any origin. It is signed by Django's signer, so
`SECRET_KEY_FALLBACKS` are honoured.
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
from notifications.errors import Forbidden, Invalid, Unauthenticated, Unavailable
from notifications.topics import topics as check_topics

VERSION = 1
SALT = "carillon.link"
PARAMETER = "link"
# Below what the view reads, so that a client can append its cursor.
MAX_CHARACTERS = 7_500


@dataclass(frozen=True, slots=True)
class Link:
    """`pk` and `digest` are of the user; both are empty for a link that is nobody's."""

    until: int
    topics: tuple[str, ...]
    pk: str = ""
    digest: str = ""

    def signed(self) -> str:
        whole = [VERSION, self.until, self.topics, self.pk, self.digest]
        return Signer(salt=SALT).sign_object(whole, compress=True)

    @classmethod
    def of(cls, text: str) -> "Link":
        """Raises `Unauthenticated` for a text that was not signed here."""
        if len(text) > MAX_CHARACTERS:
            raise Unauthenticated("The link is too long to be one of ours.")
        try:
            version, *rest = Signer(salt=SALT).unsign_object(text)
        except (BadSignature, ValueError):
            raise Unauthenticated("The link was not made here, or was changed.") from None
        if version != VERSION:
            raise Unauthenticated("The link was made by another version: fetch a new one.")
        until, topics, pk, digest = rest
        return cls(until, tuple(topics), pk, digest)


def events_url(
    *topics: str,
    user: User | None = None,
    expires_in: float | timedelta | None = None,
    since: str = "",
    envelope: bool = False,
) -> str:
    """The URL, without its host, of a stream of these topics, for whoever has it.

    It grants them: whether the reader may hear them has been decided by whoever calls this. Bound
    to a user, it ends when they are deactivated or change their password. It can be opened for
    `expires_in` seconds (`LINK_AGE`). Raises `Invalid`.
    """
    link = Link(_end(expires_in), check_topics(topics), *_binding(user))
    query = {PARAMETER: link.signed()}
    if since:
        query["since"] = since
    if envelope:
        query["envelope"] = "1"
    url = f"{reverse('carillon:events')}?{urlencode(query, safe=':')}"
    if len(url) > MAX_CHARACTERS:
        raise Invalid(
            f"These topics make a link of {len(url)} characters; at most {MAX_CHARACTERS} are "
            "read. Publish to a topic that stands for several.",
            field="topic",
        )
    return url


async def by_link(text: str, *, visitor: User | None = None) -> Identity:
    """Who a link was made for, or somebody whose name is not known, and its topics as their scope.

    Raises `Unauthenticated` for a link that does not hold (any more), `Forbidden` where the
    `visitor`, whose session the request brought, is another user, and `Unavailable`.
    """
    link = Link.of(text)
    if link.until <= time.time():
        raise Unauthenticated("The link has expired: fetch a new one.")
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    known: dict[str, Any] = {}
    subjects = [f"link:{digest}"]
    if link.pk:
        if visitor is not None and visitor.is_authenticated and str(visitor.pk) != link.pk:
            raise Forbidden("The link was made for another user.")
        known["user"] = await _user(link)
        subjects.append(f"user:{link.pk}")
    return Identity(
        kind=Kind.LINK,
        name=f"link:{digest}",
        subjects=tuple(subjects),
        until=link.until,
        scope=Scope(topics=link.topics),
        credentials=text,
        **known,
    )


async def renewed(identity: Identity) -> Identity | None:
    """The same, if the link still holds, or None. Raises `Unavailable`."""
    try:
        return await by_link(identity.credentials or "")
    except Unauthenticated:
        return None


def _end(expires_in: float | timedelta | None) -> int:
    if expires_in is None:
        expires_in = get_settings().LINK_AGE
    seconds = expires_in.total_seconds() if isinstance(expires_in, timedelta) else expires_in
    if seconds <= 0:
        raise Invalid(f"A link cannot expire in {seconds} seconds.", field="expires_in")
    return int(time.time() + seconds)


def _binding(user: User | None) -> tuple[str, str]:
    if not (isinstance(user, AbstractBaseUser) and user.is_authenticated):
        return "", ""
    return str(user.pk), _digest(user.get_session_auth_hash())


def _digest(auth_hash: str) -> str:
    """What changes with the user's password, in a form that opens no session."""
    return hashlib.sha256(f"{SALT}.{auth_hash}".encode()).hexdigest()[:16]


async def _user(link: Link) -> AbstractBaseUser:
    users = get_user_model()._default_manager  # noqa: SLF001 - Django's own name for it
    try:
        user = await users.filter(pk=link.pk).afirst()
    except (ValueError, ValidationError):
        user = None  # the model of users was another then
    except DatabaseError as error:
        raise Unavailable("The link's user cannot be read now.", outcome="not_sent") from error
    if user is None or not user.is_active or not _matches(user, link.digest):
        raise Unauthenticated("The link's user has left, or has changed their password.")
    return user


def _matches(user: AbstractBaseUser, digest: str) -> bool:
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(_digest(each), digest) for each in hashes)

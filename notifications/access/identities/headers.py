"""Credentials in headers: which of them are ours, judged by their form.

A request may carry credentials of somebody else: of a proxy in front (Basic, the JWT of an
identity-aware proxy), of another framework of the same site, or of a cloud. Those are no business
of ours: they are passed over, as if they were not there. Credentials of our form are never passed
over, so that a key that was revoked is refused and does not become an anonymous visitor.
"""

import re

from django.http import HttpRequest

from notifications.access.identities import api_keys, jwt
from notifications.errors import Unauthenticated

KEY_HEADER = "X-API-Key"
KINDS_UNDERSTOOD = (
    f"What is understood here: 'Authorization: Bearer <key or token>'; '{KEY_HEADER}: <key or "
    "token>', where a proxy needs Authorization for itself; a signed link, to subscribe; and the "
    "session of a user who is logged in."
)

# Servers join several headers of one name by commas. No key that we issue, and no token, has one.
_BEARER = re.compile(r"(?:\A|,)\s*bearer\s+([^\s,]+)\s*(?=,|\Z)", re.ASCII | re.IGNORECASE)
_WHOLE_BEARER = re.compile(r"\s*bearer\s+(\S+)\s*", re.ASCII | re.IGNORECASE)
_WITH_OR_WITHOUT_SCHEME = re.compile(r"(?:[\w-]+\s+)?(\S+)", re.ASCII)


def bearer_texts(request: HttpRequest) -> tuple[str, ...]:
    """What may be a key or a token in the headers: that of `X-API-Key` first, without repeats."""
    texts = []
    if key := request.META.get("HTTP_X_API_KEY", "").strip():
        texts.append(key)
    authorization = request.META.get("HTTP_AUTHORIZATION", "")
    # A key of the settings may contain a comma, so the whole header counts as well.
    if whole := _WHOLE_BEARER.fullmatch(authorization):
        texts.append(whole[1])
    texts += _BEARER.findall(authorization)
    return tuple(dict.fromkeys(texts))


def own_credentials(request: HttpRequest) -> str:
    """The key or token in the headers that is ours by its form; an empty text if none is.

    `X-API-Key` decides where it has one. Raises `Unauthenticated` for several different ones in
    `Authorization`, and for a key of ours that lacks its scheme.
    """
    own = [text for text in bearer_texts(request) if is_own(text)]
    if own and own[0] == request.META.get("HTTP_X_API_KEY", "").strip():
        return own[0]
    if len(own) > 1:
        raise Unauthenticated("Authorization has several keys or tokens: send one.")
    if own:
        return own[0]
    text = _WITH_OR_WITHOUT_SCHEME.fullmatch(request.META.get("HTTP_AUTHORIZATION", "").strip())
    if text and api_keys.is_own(text[1]):
        raise Unauthenticated("The scheme of a key is 'Bearer': 'Authorization: Bearer <key>'.")
    return ""


def is_own(text: str) -> bool:
    """Whether the text has the form of our keys, is a key of the settings, or is a token that names
    a configured issuer. Nothing else is ever accepted."""
    return api_keys.is_own(text) or jwt.is_own(text)


def has_foreign_credentials(request: HttpRequest) -> bool:
    """Whether a header has credentials, none of which is ours."""
    headers = (request.META.get(f"HTTP_{name}", "") for name in ("AUTHORIZATION", "X_API_KEY"))
    return any(text.strip() for text in headers) and not own_credentials(request)

"""Bearer tokens (JWT, RFC 7519): who they are for, and what they allow, as their issuer signed."""

import hashlib
import re
import time
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from notifications.access.identities.base import Identity, Kind, Scope
from notifications.access.identities.cache import Verified
from notifications.conf import get_settings
from notifications.conf.jwt import Issuer, IssuerKey
from notifications.errors import Invalid, Unauthenticated
from notifications.topics import Pattern, patterns, topic

CLAIM = "carillon"
MAX_CHARACTERS = 8_000
REQUIRED = ("exp", "aud", "iss")
# What would choose a key or a meaning other than the configured one.
REFUSED_HEADERS = ("b64", "crit", "jku", "jwk", "x5c", "x5u")
_FORM = re.compile(r"eyJ[\w-]*\.[\w-]+\.[\w-]*", re.ASCII)
# What whoever sends a token may know of why it is refused, by PyJWT's name for it.
_REASONS = {
    "ExpiredSignatureError": "it has expired",
    "ImmatureSignatureError": "it is not valid yet",
    "InvalidAudienceError": "it is for another audience",
    "InvalidIssuerError": "it is by another issuer",
    "InvalidSignatureError": "its signature does not match",
    "MissingRequiredClaimError": "it lacks one of the claims exp, aud and iss",
}


def is_token(text: str) -> bool:
    """Whether it is one by its form. No key of ours looks like that."""
    return _FORM.fullmatch(text) is not None


async def by_token(text: str) -> Identity:
    """Who shows this token. Raises `Unauthenticated`, saying why."""
    issuer = get_settings().JWT
    if issuer is None:
        raise Unauthenticated("Tokens are not accepted here.")
    if len(text) > MAX_CHARACTERS:
        raise _refusal(f"it has more than {MAX_CHARACTERS} characters")
    if not is_token(text):
        raise _refusal("it is not a JSON web token")
    verified, digest = _verified(issuer), hashlib.sha256(text.encode()).hexdigest()
    identity = verified.get(digest)
    if identity is None:
        identity = _identity(text, _claims(text, issuer), issuer)
        verified.add(digest, identity, generation=verified.generation)
    elif identity.until is not None and identity.until <= time.time():
        raise _refusal(_REASONS["ExpiredSignatureError"])
    return identity


async def renewed(identity: Identity) -> Identity | None:
    """The same, if the token still holds, or None."""
    try:
        return await by_token(identity.credentials or "")
    except Unauthenticated:
        return None


@lru_cache(maxsize=1)
def _verified(_: Issuer) -> Verified:
    """Signatures cost more than all else that a publish request does here."""
    return Verified()


def _claims(text: str, issuer: Issuer) -> dict[str, Any]:
    import jwt

    try:
        key = _key(jwt.get_unverified_header(text), issuer)
        claims: dict[str, Any] = jwt.decode(
            text,
            _loaded(key),
            algorithms=[key.ALGORITHM],
            audience=issuer.AUDIENCE,
            issuer=issuer.ISSUER,
            leeway=issuer.LEEWAY,
            options={"require": list(REQUIRED)},
        )
    except jwt.PyJWTError as error:
        raise _refusal(_REASONS.get(type(error).__name__, "it cannot be verified")) from None
    except (ArithmeticError, RecursionError, TypeError, ValueError):
        # Numbers without end, or brackets without end: JSON that PyJWT does not expect.
        raise _refusal("it cannot be read") from None
    return claims


def _key(header: Mapping[str, Any], issuer: Issuer) -> IssuerKey:
    """The one that the token names. What else its header asks for is not done."""
    if refused := [name for name in REFUSED_HEADERS if name in header]:
        raise _refusal(f"its header has {refused[0]!r}")
    kid = header.get("kid")
    if kid is None and len(issuer.KEYS) == 1:
        [key] = issuer.KEYS.values()
    elif kid is None:
        raise _refusal("its header has no 'kid', and there are several keys")
    elif kid not in issuer.KEYS:
        raise _refusal("its 'kid' is not known")
    else:
        key = issuer.KEYS[kid]
    if header.get("alg") != key.ALGORITHM:
        raise _refusal("its 'alg' is not that of the key")
    return key


@cache
def _loaded(key: IssuerKey) -> Any:
    return key.load()


def _identity(text: str, claims: Mapping[str, Any], issuer: Issuer) -> Identity:
    subject, token_id = _text(claims, "sub"), _text(claims, "jti")
    subjects = [f"token:{subject}"] if subject else []
    subjects += [f"jti:{token_id}"] if token_id else []
    return Identity(
        kind=Kind.TOKEN,
        name=f"token:{issuer.ISSUER}:{subject}",
        subjects=tuple(subjects),
        until=_number(claims["exp"]) + issuer.LEEWAY,
        scope=_scope(claims.get(CLAIM, {})),
        credentials=text,
    )


def _text(claims: Mapping[str, Any], name: str) -> str:
    """A claim that names somebody or something; without one, an empty text."""
    value = claims.get(name)
    if value is None:
        return ""
    try:
        return topic(value)
    except Invalid:
        raise _refusal(f"its {name!r} is not a text of 1 to 255 bytes") from None


def _number(value: Any) -> float:
    try:
        return float(value)
    except (ArithmeticError, TypeError, ValueError):
        raise _refusal("its 'exp' is not a number") from None


def _scope(claim: Any) -> Scope:
    if not isinstance(claim, dict):
        raise _refusal(f"its {CLAIM!r} is not an object")
    return Scope(subscribe=_patterns(claim, "subscribe"), publish=_patterns(claim, "publish"))


def _patterns(claim: dict[str, Any], verb: str) -> tuple[Pattern, ...]:
    try:
        return patterns(claim.get(verb, []))
    except Invalid as error:
        raise _refusal(f"its {CLAIM}.{verb} is not understood: {error.detail}") from None


def _refusal(why: str) -> Unauthenticated:
    return Unauthenticated(f"The token is refused: {why}.")

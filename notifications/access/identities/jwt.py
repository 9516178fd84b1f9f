"""Bearer tokens (JWT, RFC 7519): identities and scopes that a configured issuer has signed."""

import base64
import hashlib
import json
import re
import time
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from notifications.access.identities.base import Identity, Kind, Scope
from notifications.access.identities.cache import CredentialCache
from notifications.conf import get_settings
from notifications.conf.jwt import Issuer, IssuerKey
from notifications.conf.namespace import is_used, scoped
from notifications.errors import Invalid, Unauthenticated
from notifications.topics import Pattern, parse_patterns, parse_topic

CLAIM = "carillon"
MAX_CHARACTERS = 8_000
REQUIRED_CLAIMS = ("exp", "aud", "iss")
# Headers that would choose a key, or a meaning, other than the configured one.
REFUSED_HEADERS = ("b64", "crit", "jku", "jwk", "x5c", "x5u")
_TOKEN = re.compile(r"eyJ[\w-]*\.[\w-]+\.[\w-]*", re.ASCII)
# The reasons of a refusal that a client may know, by the names of PyJWT's exceptions.
_REASONS = {
    "ExpiredSignatureError": "it has expired",
    "ImmatureSignatureError": "it is not valid yet",
    "InvalidAudienceError": "it is for another audience",
    "InvalidIssuerError": "it is by another issuer",
    "InvalidSignatureError": "its signature does not match",
    "MissingRequiredClaimError": "it lacks one of the claims exp, aud and iss",
}


def is_token(text: str) -> bool:
    """Whether the text has the shape of a token. No API key has it."""
    return _TOKEN.fullmatch(text) is not None


def is_own(text: str) -> bool:
    """Whether the text is a token that names the configured issuer, whoever has signed it."""
    issuer = get_settings().JWT
    return issuer is not None and is_token(text) and _named_issuer(text) == issuer.ISSUER


def _named_issuer(text: str) -> object:
    """The claim `iss` of a token that nobody has verified. None if it cannot be read."""
    payload = text.split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (RecursionError, ValueError):
        return None
    return claims.get("iss") if isinstance(claims, dict) else None


async def authenticate_token(text: str, *, namespace: str = "") -> Identity:
    """The identity that the token names. Raises `Unauthenticated`, which says why.

    A token is valid in the namespace of its claim alone: tenants may have one issuer.
    """
    issuer = get_settings().JWT
    if issuer is None:
        raise Unauthenticated("Tokens are not accepted here.")
    if len(text) > MAX_CHARACTERS:
        raise _refusal(f"it has more than {MAX_CHARACTERS} characters")
    if not is_token(text):
        raise _refusal("it is not a JSON web token")
    digest = hashlib.sha256(scoped(namespace, text).encode()).hexdigest()
    verified = _verified_tokens(issuer)
    identity = verified.get(digest)
    if identity is None:
        claims = _verified_claims(text, issuer)
        _check_namespace(claims, namespace)
        identity = _identity(text, claims, issuer)
        verified.add(digest, identity, generation=verified.generation)
    elif identity.is_over(time.time()):
        raise _refusal(_REASONS["ExpiredSignatureError"])
    return identity


async def reauthenticate(identity: Identity) -> Identity | None:
    """The same identity, if the token is still valid, or None."""
    try:
        return await authenticate_token(identity.credentials or "", namespace=identity.namespace)
    except Unauthenticated:
        return None


@lru_cache(maxsize=1)
def _verified_tokens(_: Issuer) -> CredentialCache:
    """A cache, because a signature check costs more than the rest of a publish request.

    Another issuer in the settings empties the cache.
    """
    return CredentialCache()


def _verified_claims(text: str, issuer: Issuer) -> dict[str, Any]:
    import jwt  # an optional dependency: `django-carillon[jwt]`

    try:
        key = _select_key(jwt.get_unverified_header(text), issuer)
        claims: dict[str, Any] = jwt.decode(
            text,
            _loaded_key(key),
            algorithms=[key.ALGORITHM],
            audience=issuer.AUDIENCE,
            issuer=issuer.ISSUER,
            leeway=issuer.LEEWAY,
            options={"require": list(REQUIRED_CLAIMS)},
        )
    except jwt.PyJWTError as error:
        raise _refusal(_REASONS.get(type(error).__name__, "it cannot be verified")) from None
    except (ArithmeticError, RecursionError, TypeError, ValueError):
        # PyJWT does not expect JSON with numbers or brackets without end.
        raise _refusal("it cannot be read") from None
    return claims


def _select_key(header: Mapping[str, Any], issuer: Issuer) -> IssuerKey:
    """The issuer's key that the header names. The header can choose nothing else."""
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
def _loaded_key(key: IssuerKey) -> Any:
    return key.load()


def _identity(text: str, claims: Mapping[str, Any], issuer: Issuer) -> Identity:
    subject, token_id = _name_claim(claims, "sub"), _name_claim(claims, "jti")
    subjects = [f"token:{subject}"] if subject else []
    subjects += [f"jti:{token_id}"] if token_id else []
    return Identity(
        kind=Kind.TOKEN,
        name=f"token:{issuer.ISSUER}:{subject}",
        subjects=tuple(subjects),
        until=_expiry(claims["exp"]) + issuer.LEEWAY,
        scope=_scope(claims.get(CLAIM, {})),
        credentials=text,
    )


def _check_namespace(claims: Mapping[str, Any], namespace: str) -> None:
    claim = claims.get(CLAIM)
    named = claim.get("namespace", "") if isinstance(claim, dict) else ""
    if is_used() and named != namespace:
        raise _refusal(f"its {CLAIM}.namespace is not that of this site")


def _name_claim(claims: Mapping[str, Any], name: str) -> str:
    """A claim that names a user or a token; an empty text if the token has no such claim."""
    value = claims.get(name)
    if value is None:
        return ""
    try:
        return parse_topic(value)
    except Invalid:
        raise _refusal(f"its {name!r} is not a text of 1 to 255 bytes") from None


def _expiry(value: Any) -> float:
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
        return parse_patterns(claim.get(verb, []))
    except Invalid as error:
        raise _refusal(f"its {CLAIM}.{verb} is not understood: {error.detail}") from None


def _refusal(reason: str) -> Unauthenticated:
    return Unauthenticated(f"The token is refused: {reason}.")

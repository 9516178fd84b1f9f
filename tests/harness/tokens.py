"""Issuers' keys, valid tokens, and forged tokens, which no token library would sign."""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

SECRET = "a secret of the tests, which has enough bytes"
AUDIENCE = "https://carillon.example.com"
ISSUER = "https://login.example.com"


@dataclass(frozen=True)
class KeyPair:
    private: Any

    @property
    def public_pem(self) -> str:
        pem: bytes = self.private.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )
        return pem.decode()

    @property
    def private_pem(self) -> str:
        pem: bytes = self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return pem.decode()


@cache
def key_pair(algorithm: str, *, weak: bool = False) -> KeyPair:
    match algorithm:
        case "RS256":
            return KeyPair(rsa.generate_private_key(65537, 1024 if weak else 2048))
        case "ES256":
            return KeyPair(ec.generate_private_key(ec.SECP384R1() if weak else ec.SECP256R1()))
        case _:
            return KeyPair(ed25519.Ed25519PrivateKey.generate())


def jwt_setting(algorithm: str = "HS256", **changes: Any) -> dict[str, Any]:
    """`CARILLON["JWT"]` with one key of this algorithm, whose `kid` is "main"."""
    key = SECRET if algorithm == "HS256" else key_pair(algorithm).public_pem
    keys = {"main": {"ALGORITHM": algorithm, "KEY": key}}
    return {"KEYS": keys, "AUDIENCE": AUDIENCE, "ISSUER": ISSUER, **changes}


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a valid token. A claim that is changed to None is left out."""
    present = {
        "aud": AUDIENCE,
        "iss": ISSUER,
        "exp": int(time.time()) + 600,
        "sub": "ada",
        "carillon": {"subscribe": ["orders"], "publish": ["news.*"]},
        **changes,
    }
    return {name: value for name, value in present.items() if value is not None}


def token(algorithm: str = "HS256", *, header: dict[str, Any] | None = None, **changes: Any) -> str:
    key = SECRET if algorithm == "HS256" else key_pair(algorithm).private
    return jwt.encode(claims(**changes), key, algorithm, {"kid": "main", **(header or {})})


def forge_token(header: Any, payload: Any, secret: str | None = SECRET) -> str:
    """A token with an HMAC signature whatever its header names; without a secret, unsigned."""
    parts = [_encoded(header), _encoded(payload)]
    signed = ".".join(parts).encode()
    signature = hmac.digest(secret.encode(), signed, hashlib.sha256) if secret is not None else b""
    return ".".join([*parts, _encoded(signature)])


def _encoded(value: Any) -> str:
    """Base64url without padding (RFC 7515 §2), of bytes or of a value as JSON."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()

"""The setting `CARILLON["JWT"]`: the issuer of bearer tokens, its keys, and its audience."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from notifications.conf.explanation import wrong

MIN_SECRET_BYTES = 32
MIN_RSA_BITS = 2048

type Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]
type LeewaySeconds = Annotated[float, Field(ge=0, le=300)]
type Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255),
    Field(description="a text of 1 to 255 characters"),
]


class IssuerKey(BaseModel):
    """A shared secret for HS256, or a public key as PEM. A key verifies with one algorithm only."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        json_schema_extra={"description": "a dict with ALGORITHM and KEY"},
    )

    ALGORITHM: Algorithm
    KEY: Annotated[SecretStr, Field(description="a shared secret, or a public key as PEM")]

    @model_validator(mode="after")
    def _can_be_loaded(self) -> Self:
        self.load()
        return self

    def load(self) -> Any:
        """The key as PyJWT takes it. Raises `ValueError`."""
        try:
            import jwt  # noqa: F401

            if self.ALGORITHM != "HS256":
                return self._public_key()
        except ImportError:
            raise wrong("KEY", "needs PyJWT: install django-carillon[jwt]") from None
        secret = self.KEY.get_secret_value().encode()
        if b"-----BEGIN" in secret:
            raise wrong("KEY", "is a PEM, and HS256 takes a secret: which of the two is wrong?")
        if len(secret) < MIN_SECRET_BYTES:
            raise wrong("KEY", f"must have at least {MIN_SECRET_BYTES} bytes for HS256")
        return secret

    def _public_key(self) -> Any:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            key = load_pem_public_key(self.KEY.get_secret_value().encode())
        except (ValueError, UnsupportedAlgorithm):
            raise wrong("KEY", "must be a public key as PEM (-----BEGIN PUBLIC KEY-----)") from None
        match self.ALGORITHM:
            case "RS256":
                is_usable = isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS
                required = f"an RSA key of at least {MIN_RSA_BITS} bits"
            case "ES256":
                is_usable = (
                    isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
                )
                required = "a key on the curve P-256"
            case _:
                is_usable = isinstance(key, ed25519.Ed25519PublicKey)
                required = "an Ed25519 key"
        if not is_usable:
            raise wrong("KEY", f"must be {required} for {self.ALGORITHM}")
        return key


class Issuer(BaseModel):
    """Accepts tokens from `ISSUER` for `AUDIENCE`, signed with the key of `KEYS` that they name.

    A token that names no key (`kid`) is accepted where there is only one key.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        json_schema_extra={"description": "a dict with KEYS, AUDIENCE and ISSUER"},
    )

    KEYS: Annotated[
        dict[Name, IssuerKey],
        Field(
            min_length=1,
            description="a dict of keys by their `kid`, a text of 1 to 255 characters, such as "
            '{"main": {"ALGORITHM": "HS256", "KEY": …}}',
        ),
    ]
    AUDIENCE: Name
    ISSUER: Name
    LEEWAY: LeewaySeconds = 0
    """How many seconds the issuer's clock and ours may differ."""

    def __hash__(self) -> int:
        return hash((tuple(sorted(self.KEYS)), self.AUDIENCE, self.ISSUER, self.LEEWAY))

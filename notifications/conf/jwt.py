"""Who may issue bearer tokens, as `CARILLON["JWT"]` names them: by keys, and for whom."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

MIN_SECRET_BYTES = 32
MIN_RSA_BITS = 2048

type Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]
type Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class IssuerKey(BaseModel):
    """A shared secret, for HS256, or a public key as PEM. It verifies with one algorithm only."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    ALGORITHM: Algorithm
    KEY: SecretStr

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
            raise ValueError("tokens need PyJWT: install django-carillon[jwt]") from None
        secret = self.KEY.get_secret_value().encode()
        if b"-----BEGIN" in secret:
            raise ValueError("KEY is a PEM, and HS256 takes a secret: which of the two is wrong?")
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"KEY has at least {MIN_SECRET_BYTES} bytes for HS256")
        return secret

    def _public_key(self) -> Any:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            key = load_pem_public_key(self.KEY.get_secret_value().encode())
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError(
                "KEY is not a public key as PEM (-----BEGIN PUBLIC KEY-----)"
            ) from None
        match self.ALGORITHM:
            case "RS256":
                fits = isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS
                wanted = f"an RSA key of at least {MIN_RSA_BITS} bits"
            case "ES256":
                fits = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
                wanted = "a key on the curve P-256"
            case _:
                fits = isinstance(key, ed25519.Ed25519PublicKey)
                wanted = "an Ed25519 key"
        if not fits:
            raise ValueError(f"KEY is not {wanted}, which {self.ALGORITHM} needs")
        return key


class Issuer(BaseModel):
    """Tokens are taken from `ISSUER`, for `AUDIENCE`, signed by the one of `KEYS` that they name.

    A token that names none (`kid`) is taken where there is only one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    KEYS: Annotated[dict[Name, IssuerKey], Field(min_length=1)]
    AUDIENCE: Name
    ISSUER: Name
    LEEWAY: Annotated[float, Field(ge=0, le=300)] = 0
    """By how many seconds the clocks of the two may differ."""

    def __hash__(self) -> int:
        return hash((tuple(sorted(self.KEYS)), self.AUDIENCE, self.ISSUER, self.LEEWAY))

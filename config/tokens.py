"""The setting for JWT bearer tokens, from environment variables: one secret or one public key."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config.environment import Environment, number

REQUIRED = "CARILLON_JWT_AUDIENCE", "CARILLON_JWT_ISSUER"


def jwt_setting(env: Environment) -> dict[str, Any] | None:
    """The value of `CARILLON["JWT"]`, or None if neither a secret nor a public key is set."""
    secret = env("CARILLON_JWT_SECRET", str, default="")
    public_key = env("CARILLON_JWT_PUBLIC_KEY", pem, default="")
    if not (secret or public_key):
        return None
    if secret and public_key:
        raise ImproperlyConfigured(
            "CARILLON_JWT_SECRET and CARILLON_JWT_PUBLIC_KEY are both set, and tokens are signed "
            "with one of them: for several keys use CARILLON['JWT']['KEYS'] in the settings."
        )
    audience, issuer = (env(name, str, default="") for name in REQUIRED)
    for name, value in zip(REQUIRED, (audience, issuer), strict=True):
        if not value:
            raise ImproperlyConfigured(f"{name} is not set: no token is accepted without it.")
    algorithm = env("CARILLON_JWT_ALGORITHM", str, default="HS256" if secret else "RS256")
    kid = env("CARILLON_JWT_KEY_ID", str, default="default")
    leeway = env("CARILLON_JWT_LEEWAY", number, default=0.0)
    keys = {kid: {"ALGORITHM": algorithm, "KEY": secret or public_key}}
    return {"KEYS": keys, "AUDIENCE": audience, "ISSUER": issuer, "LEEWAY": leeway}


def pem(text: str) -> str:
    """A PEM text. A variable that holds only one line has \\n for its line breaks."""
    return text.replace("\\n", "\n")

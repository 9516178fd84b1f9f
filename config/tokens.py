"""Whose bearer tokens are taken, out of the environment: by one secret or one public key."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config.environment import Environment, number

NEEDED = "CARILLON_JWT_AUDIENCE", "CARILLON_JWT_ISSUER"


def issuer(env: Environment) -> dict[str, Any] | None:
    """The value of `CARILLON["JWT"]`, or None where neither of the two is set."""
    secret = env("CARILLON_JWT_SECRET", str, default="")
    public_key = env("CARILLON_JWT_PUBLIC_KEY", pem, default="")
    if not (secret or public_key):
        return None
    if secret and public_key:
        raise ImproperlyConfigured(
            "CARILLON_JWT_SECRET and CARILLON_JWT_PUBLIC_KEY are both set, and tokens are signed "
            "with one of them: name several keys in the settings, as CARILLON['JWT']['KEYS']."
        )
    audience, by = (env(name, str, default="") for name in NEEDED)
    for name, value in zip(NEEDED, (audience, by), strict=True):
        if not value:
            raise ImproperlyConfigured(f"{name} is not set: tokens are not taken without it.")
    algorithm = env("CARILLON_JWT_ALGORITHM", str, default="HS256" if secret else "RS256")
    kid = env("CARILLON_JWT_KEY_ID", str, default="default")
    leeway = env("CARILLON_JWT_LEEWAY", number, default=0.0)
    keys = {kid: {"ALGORITHM": algorithm, "KEY": secret or public_key}}
    return {"KEYS": keys, "AUDIENCE": audience, "ISSUER": by, "LEEWAY": leeway}


def pem(text: str) -> str:
    """Where a variable holds one line only, line breaks are written as \\n."""
    return text.replace("\\n", "\n")

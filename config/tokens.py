"""The setting for JWT bearer tokens, from environment variables: one secret or one public key."""

from typing import Annotated, Any, override

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from config.environment import Variables
from notifications.conf.jwt import Algorithm, LeewaySeconds, Name
from notifications.conf.value_types import SECRET

PREFIX = "CARILLON_JWT_"


class TokenVariables(Variables):
    """The parts of `CARILLON["JWT"]` with one key, whose values `Settings` validates."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    SECRET: Annotated[str, Field(description="a text", json_schema_extra=SECRET)] = ""
    PUBLIC_KEY: Annotated[str, Field(description="a public key as PEM")] = ""
    ALGORITHM: Algorithm | None = None
    AUDIENCE: Name | None = None
    ISSUER: Name | None = None
    KEY_ID: Name = "default"
    LEEWAY: LeewaySeconds = 0.0

    def value(self) -> dict[str, Any] | None:
        """The value of `CARILLON["JWT"]`, or None if neither a secret nor a public key is set."""
        if not (self.SECRET or self.PUBLIC_KEY):
            return None
        # A variable that holds only one line has \\n for the line breaks of a PEM.
        key = self.SECRET or self.PUBLIC_KEY.replace("\\n", "\n")
        algorithm = self.ALGORITHM or ("HS256" if self.SECRET else "RS256")
        return {
            "KEYS": {self.KEY_ID: {"ALGORITHM": algorithm, "KEY": key}},
            "LEEWAY": self.LEEWAY,
            **({} if self.AUDIENCE is None else {"AUDIENCE": self.AUDIENCE}),
            **({} if self.ISSUER is None else {"ISSUER": self.ISSUER}),
        }

    @override
    def problems(self) -> list[str]:
        if self.SECRET and self.PUBLIC_KEY:
            return [
                "CARILLON_JWT_SECRET and CARILLON_JWT_PUBLIC_KEY are both set, and tokens are "
                "signed with one of them: for several keys use CARILLON['JWT']['KEYS'] in the "
                "settings."
            ]
        return []

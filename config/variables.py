"""The variables of this project: Django's, those of platforms, and those of Carillon."""

import warnings
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, override

from django.core.exceptions import ImproperlyConfigured
from environ import Env
from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import SettingsConfigDict

from config.environment import PREFIX, TextSource, Variables, misspelt, problems, read_text
from config.keys import read_or_create_secret
from config.tokens import TokenVariables
from notifications.conf import Settings
from notifications.conf.explanation import Location
from notifications.conf.value_types import SECRET

BASE_DIR = Path(__file__).resolve().parent.parent


def _check_database(url: str) -> str:
    database(url)
    return url


def database(url: str) -> dict[str, Any]:
    """Django's settings for the database at this URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they repeat the URL, which may hold a password
        try:
            parsed: dict[str, Any] = Env.db_url_config(url)
        except ValueError:
            parsed = {}
    if parsed.get("ENGINE") not in Env.DB_SCHEMES.values():
        raise ValueError("it names no database that Django knows")
    return parsed


type Host = Annotated[str, Field(title="host names", examples=["example.com", ".example.org"])]
type Origin = Annotated[str, Field(title="origins", examples=["https://example.com"])]
type DatabaseUrl = Annotated[
    str,
    AfterValidator(_check_database),
    Field(
        description="a URL such as postgres://user:password@host/name or sqlite:///path",
        json_schema_extra=SECRET,
    ),
]


class Project(Variables):
    DEBUG: bool = False
    HOST: Annotated[str, Field(description="an address or a host name")] = "127.0.0.1"
    PORT: Annotated[int, Field(ge=0, le=65535)] = 8000
    WEB_CONCURRENCY: Annotated[int, Field(ge=1)] = 1
    DATA_DIR: Annotated[Path, Field(description="the path of a folder")] = BASE_DIR / "data"
    SECRET_KEY: Annotated[str, Field(description="a text", json_schema_extra=SECRET)] = ""
    ALLOWED_HOSTS: list[Host] = ["localhost", "127.0.0.1", "[::1]"]
    CSRF_TRUSTED_ORIGINS: list[Origin] = []
    DATABASE_URL: DatabaseUrl | None = None
    LOG_FORMAT: Literal["text", "json"] = "text"

    @override
    def problems(self) -> list[str]:
        lines = []
        if not (self.DEBUG or self.SECRET_KEY):
            lines.append(
                "SECRET_KEY is not set: set it to 50 random characters, or SECRET_KEY_FILE to the "
                "path of a file that holds them, or set DEBUG=1 for development."
            )
        if "*" in self.ALLOWED_HOSTS and not self.DEBUG:
            lines.append(
                "ALLOWED_HOSTS contains '*', so anybody could forge this site's name: list its "
                "host names."
            )
        return lines


class Carillon(Settings, Variables):
    """`CARILLON` from variables: the names, types and limits are those of `Settings`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)
    unprefixed: ClassVar[frozenset[str]] = frozenset({"REDIS_URL", "DATA_DIR"})
    composed: ClassVar[frozenset[str]] = frozenset({"JWT", "DATA_DIR"})

    @classmethod
    @override
    def variable(cls, location: Location) -> str:
        if location[0] != "JWT":
            return super().variable(location)
        name = str(location[-1])
        if name in TokenVariables.model_fields:
            return TokenVariables.variable((name,))
        has_secret = read_text(TokenVariables.variable(("SECRET",))) is not None
        return TokenVariables.variable(("SECRET" if has_secret else "PUBLIC_KEY",))


def read_project() -> tuple[Project, dict[str, Any]]:
    """This project's variables, and the value of `CARILLON`.

    Raises `ImproperlyConfigured`, which names every wrong variable at once.
    """
    known = {name for model in MODELS for name in model.variables()}
    lines = misspelt(known)
    project = _read(Project, lines)
    tokens = _read(TokenVariables, lines)
    if project is None:
        defaults: dict[str, Any] = {"LOG": "memory"}  # whether Redis is required is not known
    else:
        defaults = _log_defaults(project, lines)
    if tokens is not None and (issuer := tokens.value()):
        defaults["JWT"] = issuer
    _read(Carillon, lines, **defaults)
    if lines or project is None:
        raise ImproperlyConfigured("\n".join(lines))
    if project.DEBUG:
        defaults["OUTBOX"] = "in-process"  # the inbox needs a relay
        key = read_or_create_secret(project.DATA_DIR / "publish.key", size=24)
        defaults |= {"PUBLIC_TOPICS": ["demo."], "PUBLISH_KEYS": [key]}
    return project, defaults | TextSource(Carillon)()


MODELS: tuple[type[Variables], ...] = (Project, TokenVariables, Carillon)


def _read[Model: Variables](model: type[Model], lines: list[str], **defaults: Any) -> Model | None:
    """The variables of a model. None, and a line for each wrong one, if they are invalid."""
    try:
        read = model(**defaults)
    except ValidationError as error:
        lines += problems(error, model)
        return None
    lines += read.problems()
    return read


def _log_defaults(project: Project, lines: list[str]) -> dict[str, Any]:
    if (kind := read_text(f"{PREFIX}LOG")) not in {None, "embedded"}:
        return {}
    if kind is None and read_text("REDIS_URL"):
        return {"LOG": "redis"}
    if kind == "embedded" or project.DEBUG:
        return {"LOG": "embedded", "DATA_DIR": project.DATA_DIR.resolve()}
    lines.append(
        "REDIS_URL is not set: set it to a Redis or Valkey server, as redis://localhost:6379/0. "
        "The embedded one is for development (DEBUG=1)."
    )
    return {"LOG": "memory"}

"""Environment variables, parsed strictly: an invalid value is an error that names its variable."""

import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from environ import FileAwareEnv
from environ.fileaware_mapping import FileAwareMapping

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}
REDIS_SCHEME = re.compile(r"(rediss?(\+sentinel|\+cluster)?|unix)://")


class Environment:
    """An empty variable counts as unset, and `NAME_FILE` names a file that holds `NAME`.

    The variable takes precedence over the file, since the file may be an image's default.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        values = {name: value for name, value in variables.items() if value.strip()}
        for name in list(values):
            values.pop(f"{name}_FILE", None)
        self._values = FileAwareMapping(values)

    def __call__[T, D](self, name: str, parse: Callable[[str], T], *, default: D) -> T | D:
        try:
            value = self._values[name].strip()
        except KeyError:
            return default
        except (OSError, UnicodeDecodeError) as error:
            raise ImproperlyConfigured(f"{name}_FILE cannot be read: {error}") from None
        try:
            return parse(value)
        except ValueError as error:
            raise ImproperlyConfigured(f"{name}: {error}") from None


def flag(text: str) -> bool:
    if text.lower() not in TRUE | FALSE:
        raise ValueError(f"{text!r} is neither 1 nor 0")
    return text.lower() in TRUE


def number(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise ValueError(f"{text!r} is not a number, such as 20 or 7.5")
    return float(text)


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """A parser for whole numbers within these limits."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\d+", text, re.ASCII):
            raise ValueError(f"{text!r} is not a whole number")
        if not low <= int(text) <= (int(text) if high is None else high):
            raise ValueError(f"{text} is not {low} or more" + (f", up to {high}" if high else ""))
        return int(text)

    return parse


def one_of(*allowed: str) -> Callable[[str], str]:
    """A parser for one of these words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"{text!r} is not one of {', '.join(allowed)}")
        return text

    return parse


def names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def redis_url(text: str) -> str:
    if not REDIS_SCHEME.match(text):
        raise ValueError(
            "it must begin with redis://, rediss://, unix://, redis+sentinel://, redis+cluster://, "
            "rediss+sentinel:// or rediss+cluster://"
        )
    return text


def database(text: str) -> dict[str, Any]:
    """Django's settings for the database at a URL. Errors do not repeat the URL, which may hold a
    password."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parsed: dict[str, Any] = FileAwareEnv.db_url_config(text)
    if parsed.get("ENGINE") not in FileAwareEnv.DB_SCHEMES.values():
        raise ValueError("it must look like postgres://user:password@host/name or sqlite:///path")
    return parsed

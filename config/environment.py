"""Settings from environment variables: how they are named and written, and what is wrong."""

import os
import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, ClassVar, override

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from notifications.conf.explanation import (
    Location,
    Notation,
    Schema,
    Unreadable,
    explain,
    nearest,
    resolved,
    schema_of,
    unknown,
)

PREFIX = "CARILLON_"
PREFIX_LIKENESS = 0.85
TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})
# Kubernetes sets these in every container, for a Service whose name begins with `carillon`.
SERVICE_LINK = re.compile(
    r"CARILLON(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)


class Variables(BaseSettings):
    """Settings from environment variables, whose names begin with `env_prefix`."""

    model_config = SettingsConfigDict(
        strict=True, frozen=True, extra="forbid", case_sensitive=True, validate_default=False
    )

    unprefixed: ClassVar[frozenset[str]] = frozenset()
    """Settings whose variables have the setting's own name."""

    composed: ClassVar[frozenset[str]] = frozenset()
    """Settings whose values are made of other variables."""

    @classmethod
    def variable(cls, location: Location) -> str:
        """The variable of the setting at this location."""
        name = str(location[0])
        return name if name in cls.unprefixed else f"{cls.model_config['env_prefix']}{name}"

    def problems(self) -> list[str]:
        """One line for each problem of variables that are valid by themselves."""
        return []

    @classmethod
    def variables(cls) -> list[str]:
        return [cls.variable((name,)) for name in cls.model_fields if name not in cls.composed]

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return TextSource(cls), init_settings


class TextSource(PydanticBaseSettingsSource):
    """The values of the variables that are set, and of the files that `NAME_FILE` names.

    Pydantic's own source of variables takes several times as long, most of it for aliases and
    nested names, which these have not.
    """

    def __init__(self, model: type[Variables]) -> None:
        super().__init__(model)
        self._model = model
        self._schema = schema_of(model)

    @override
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        is_composed = field_name in self._model.composed
        value = None if is_composed else read_text(self._model.variable((field_name,)))
        if isinstance(value, str):
            value = parse(value, resolved(self._schema["properties"][field_name], self._schema))
        return value, field_name, False

    @override
    def __call__(self) -> dict[str, Any]:
        fields = self._model.model_fields.items()
        values = {name: self.get_field_value(field, name)[0] for name, field in fields}
        return {name: value for name, value in values.items() if value is not None}


def read_text(name: str) -> str | Unreadable | None:
    """The text of a variable. An empty one counts as unset.

    The variable takes precedence over the file, since the file may be an image's default.
    """
    text = os.environ.get(name, "").strip()
    path = os.environ.get(f"{name}_FILE", "").strip()
    if text or not path:
        return text or None
    try:
        return Path(path).read_text().strip() or None
    except (OSError, UnicodeDecodeError) as error:
        return Unreadable(f"{name}_FILE cannot be read: {error}")


def parse(text: str, schema: Schema) -> Any:
    """The value that the text stands for; the text itself if it is none of this type."""
    match schema.get("type"):
        case "array":
            return [part.strip() for part in text.split(",") if part.strip()]
        case "boolean" if text.lower() in TRUE | FALSE:
            return text.lower() in TRUE
        case "integer" if re.fullmatch(r"-?[0-9]+", text):
            return int(text)
        case "number" if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text):
            return float(text)
        case "string" if schema.get("format") == "path":
            return Path(text)
        case _:
            return text


def problems(error: ValidationError, model: type[Variables]) -> list[str]:
    """One line for each wrong variable."""
    notation = Notation(
        model.variable, "1 or 0", lambda items: f", separated by commas, such as {','.join(items)}"
    )
    return explain(error, model, notation)


def misspelt(known: Iterable[str]) -> list[str]:
    """One line for each variable that looks like one of ours, and is none."""
    names = list(known)
    settings = {name.removeprefix(PREFIX): name for name in names}
    allowed = {*names, *(f"{name}_FILE" for name in names)}
    lines = []
    for name in sorted(os.environ):
        prefix, _, setting = name.upper().partition("_")
        setting = setting.removesuffix("_FILE")
        if name in allowed or SERVICE_LINK.fullmatch(name):
            continue
        if f"{prefix}_" == PREFIX:
            likely = setting if setting in settings else nearest(setting, list(settings))
            lines.append(unknown(name, likely and settings[likely]))
        elif (
            setting in settings
            and settings[setting] != setting
            and SequenceMatcher(None, f"{prefix}_", PREFIX).ratio() >= PREFIX_LIKENESS
        ):
            lines.append(unknown(name, settings[setting]))
    return lines

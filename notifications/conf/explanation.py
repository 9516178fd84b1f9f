"""What is wrong with settings, in words: from pydantic's errors, and from the settings' schema.

What a setting must be follows from its type and limits in the schema. pydantic's own texts are not
shown: they are about Python's types, and repeat the value, which may be a secret.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

type Location = tuple[int | str, ...]
type Schema = Mapping[str, Any]

WRONG = "wrong_setting"
MAX_SHOWN_CHARACTERS = 60
LIKENESS = 0.6


def wrong(setting: str, reason: str) -> PydanticCustomError:
    """An error for a validator of several settings. The line is the setting's name and `reason`."""
    return PydanticCustomError(WRONG, "{reason}", {"setting": setting, "reason": reason})


@dataclass(frozen=True, slots=True)
class Unreadable:
    """In place of a value that a source cannot read: no setting accepts it."""

    line: str


@dataclass(frozen=True, slots=True)
class Notation:
    """How one source of settings names a setting, and writes its value.

    `joined` writes examples of a list's items.
    """

    name: Callable[[Location], str]
    flags: str
    joined: Callable[[Sequence[str]], str]


def _key_of_dict(location: Location) -> str:
    return "CARILLON" + "".join(f"[{json.dumps(part, default=repr)}]" for part in location)


DICT = Notation(
    _key_of_dict, "True or False", lambda examples: f", such as {json.dumps(list(examples))}"
)


def explain(error: ValidationError, model: type[BaseModel], notation: Notation = DICT) -> list[str]:
    """One line for each wrong setting, or item of one: its name, and what would be right."""
    schema = schema_of(model)
    lines: dict[Location, str] = {}
    for details in error.errors(include_url=False):
        location, line = _line(details, schema, notation)
        if not any(known[: len(location)] == location for known in lines):
            lines[location] = line
    return list(lines.values())


def unknown(name: str, likely: str | None) -> str:
    """The line for a name that no setting has."""
    return f"{name} is not a setting: " + (
        f"did you mean {likely}?" if likely else "docs/run.md has all of them."
    )


def nearest(name: object, names: Sequence[str]) -> str | None:
    """The name that is most probably meant."""
    wanted = str(name).upper()
    near = get_close_matches(wanted, names, n=1, cutoff=LIKENESS)
    near += [known for known in names if known.startswith(f"{wanted}_")]
    return near[0] if near else None


def _line(details: ErrorDetails, root: Schema, notation: Notation) -> tuple[Location, str]:
    """A line, and the location that it is about."""
    location, schema = _locate(details["loc"], root)
    if isinstance(details["input"], Unreadable):
        return location, details["input"].line
    if details["type"] in {"extra_forbidden", "invalid_key"}:
        return details["loc"], _unknown(details["loc"], root, notation)
    if details["type"] == WRONG:
        setting, reason = details["ctx"]["setting"], details["ctx"]["reason"]
        return (*location, setting), f"{notation.name((*location, setting))} {reason}."
    if details["type"] == "missing":
        words = _words(schema, root, notation)
        return location, f"{notation.name(location)} is not set: it must be {words}."
    about, subject, is_secret = location, "it", _is_secret(schema, root)
    if location and isinstance(location[-1], int):
        subject, location = f"its item {location[-1] + 1}", location[:-1]
        _, schema = _locate(location, root)
    elif details["loc"][-1:] == ("[key]",):
        subject, is_secret = "a key of it", False
    found = f"{subject} is {_shown(details['input'], is_secret)}"
    if details["type"] == "value_error":
        found += f": {str(details['ctx']['error']).removesuffix('.')}"
    words = _words(schema, root, notation)
    return about, f"{notation.name(location)} must be {words}; {found}."


def _unknown(location: Location, root: Schema, notation: Notation) -> str:
    parent, schema = _locate(location[:-1], root)
    likely = nearest(location[-1], list(schema.get("properties", ())))
    return unknown(notation.name(location), likely and notation.name((*parent, likely)))


# The schema


@cache
def schema_of(model: type[BaseModel]) -> Schema:
    return model.model_json_schema()


def resolved(schema: Schema, root: Schema) -> Schema:
    """The schema without references, and without the alternative `None`."""
    while "$ref" in schema or "anyOf" in schema:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            rest = {key: value for key, value in schema.items() if key not in {"$ref", "default"}}
            schema = {**root["$defs"][name], **rest}
            continue
        others = [each for each in schema["anyOf"] if each.get("type") != "null"]
        if len(others) > 1:
            break
        schema = others[0]
    return schema


def _locate(location: Location, root: Schema) -> tuple[Location, Schema]:
    """The part of the location that the schema knows, and the schema there.

    pydantic adds names of its own to a location, such as that of a member of a union.
    """
    schema = resolved(root, root)
    for depth, part in enumerate(location):
        inner = schema.get("properties", {}).get(part)
        if inner is None:
            inner = schema.get("items" if isinstance(part, int) else "additionalProperties")
        if not isinstance(inner, Mapping) or part == "[key]" or location[depth + 1 :] == ("[key]",):
            return location[:depth], schema
        schema = resolved(inner, root)
    return location, schema


def _is_secret(schema: Schema, root: Schema) -> bool:
    """Whether a value there may be a secret. A text in place of a dict may be one of its values."""
    schema = resolved(schema, root)
    if schema.get("type") == "array":
        return _is_secret(schema["items"], root)
    return bool(schema.get("writeOnly")) or schema.get("type") == "object"


# The words


def _words(schema: Schema, root: Schema, notation: Notation) -> str:
    if "description" in schema:
        return str(schema["description"])
    if "enum" in schema or "const" in schema:
        return _alternatives(schema.get("enum") or [schema["const"]])
    match schema.get("type"):
        case "boolean":
            return notation.flags
        case "integer":
            return "a whole number" + "".join(_limits(schema))
        case "number":
            return "a number" + "".join(_limits(schema))
        case "array":
            items = resolved(schema["items"], root)
            least = " with at least one item" if schema.get("minItems") else ""
            return f"a list of {items['title']}{least}{notation.joined(items['examples'])}"
        case _:
            return str(schema["format"])


def _alternatives(values: Sequence[str]) -> str:
    *others, last = map(json.dumps, values)
    return f"{', '.join(others)} or {last}" if others else last


def _limits(schema: Schema) -> Iterator[str]:
    least, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    most = schema.get("maximum")
    if above is not None:
        yield f" above {above:g}" + (f" and at most {most:g}" if most is not None else "")
    elif most is not None:
        yield f" from {least:g} to {most:g}"
    elif least is not None:
        yield f" of {least} or more"


def _shown(value: object, is_secret: bool) -> str:
    if isinstance(value, str):
        if is_secret and value:
            return f"a text of {len(value)} character{'s' if len(value) > 1 else ''}"
        shortened = "" if len(value) <= MAX_SHOWN_CHARACTERS else "…"
        return f"the text {value[:MAX_SHOWN_CHARACTERS]!r}{shortened}"
    if value is None or (isinstance(value, bool | int | float) and not is_secret):
        return repr(value)
    kind = type(value).__name__
    if isinstance(value, list | dict | tuple | set | frozenset):
        return f"a {kind}" if value else f"an empty {kind}"
    return f"a value of the type {kind}"

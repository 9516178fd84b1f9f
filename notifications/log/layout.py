"""The order of the script's arguments, for Lua and for Python.

Python builds the arguments from the tuples below, and `with_constants` gives the scripts the same
names as constants, so neither side counts positions of its own.
"""

import re
from typing import NamedTuple


class CanaryArguments(NamedTuple):
    token: str


class StateArguments(NamedTuple):
    """The epoch and the position of the known entry, and the position of the last known event.

    All are empty texts if nothing is known.
    """

    epoch: str
    position: str
    event: str


class EndArguments(NamedTuple):
    epoch: str


class ReleaseArguments(NamedTuple):
    age_seconds: int


class ControlArguments(NamedTuple):
    """The subjects of the control entry follow."""

    max_events: int
    max_controls: int
    max_bytes: int
    max_age_ms: int
    key_age_seconds: int
    revoked_ms: int
    body: str


class RememberArguments(NamedTuple):
    """What is to be remembered of each stream follows."""

    keep_ms: int


class RecallArguments(NamedTuple):
    """The streams are keys."""


class AppendArguments(NamedTuple):
    """The sections follow: of each, `SECTION_ARGUMENTS`, and `DRAFT_ARGUMENTS` of each draft."""

    max_events: int
    max_controls: int
    max_bytes: int
    max_age_ms: int
    key_age_seconds: int
    touch: str


SECTION_ARGUMENTS = ("keys", "drafts", "after")
"""Of one section: how many keys and drafts it has, and the cursor that its repetition names."""

DRAFT_ARGUMENTS = ("options", "topics", "id", "type", "data", "form")
"""Of one draft. `options`: how many of `DRAFT_OPTIONS` follow, the first ones.

A plain tuple, because building a named one takes as long again as all the rest.
"""
DRAFT_OPTIONS = ("key", "fingerprint", "mark", "part", "retry", "skip", "trace", "swap")
"""All of them follow, or those up to `part`, or none: each argument costs Redis time."""

type Arguments = (
    CanaryArguments
    | StateArguments
    | EndArguments
    | ReleaseArguments
    | ControlArguments
    | RememberArguments
    | RecallArguments
    | AppendArguments
)

OPERATIONS: dict[type[Arguments], str] = {
    CanaryArguments: "canary",
    StateArguments: "state",
    EndArguments: "end",
    ReleaseArguments: "release",
    ControlArguments: "control",
    RememberArguments: "remember",
    RecallArguments: "recall",
    AppendArguments: "append",
}

NOTHING_KEPT = " (nothing was kept)"
"""The end of the script's error if no event and no control entry of the call is in the log."""
TOO_OLD = "ERR this Redis is older than 6.2, which Carillon needs"

COMMON_ARGUMENTS = ("operation", "fresh_epoch")
"""The arguments that come before those of the operation."""


def _lua_constants() -> dict[str, str]:
    """`APPEND_TOUCH` is an index of ARGV, and `DRAFT_ID` an offset."""
    constants: dict[str, object] = {name: i for i, name in enumerate(COMMON_ARGUMENTS, 1)}
    for arguments, operation in OPERATIONS.items():
        for index, name in enumerate(arguments._fields, len(COMMON_ARGUMENTS) + 1):
            constants[f"{operation}_{name}"] = index
    for offset, name in enumerate((*DRAFT_ARGUMENTS, *DRAFT_OPTIONS)):
        constants[f"draft_{name}"] = offset
    for offset, name in enumerate(SECTION_ARGUMENTS):
        constants[f"section_{name}"] = offset
    constants["draft_count"] = len(DRAFT_ARGUMENTS)
    constants["section_count"] = len(SECTION_ARGUMENTS)
    constants["sections_start"] = len(COMMON_ARGUMENTS) + len(AppendArguments._fields) + 1
    constants |= {"nothing_kept": f"'{NOTHING_KEPT}'", "too_old": f"'{TOO_OLD}'"}
    return {name.upper(): str(value) for name, value in constants.items()}


_LUA_CONSTANTS = _lua_constants()


def with_constants(lua: str) -> str:
    """The script with the values of the constants that it names."""
    return re.sub("[A-Z][A-Z_]+", lambda match: _LUA_CONSTANTS.get(match[0], match[0]), lua)

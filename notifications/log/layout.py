"""The order of the script's arguments and of an entry's fields, for Lua and for Python.

Python builds the arguments from the tuples below, and `LUA_HEADER` gives `log.lua` the same names
as constants, so neither side counts positions of its own.
"""

from typing import NamedTuple

ENTRY_FIELDS = (*("kind", "prev", "at", "events", "topics", "id", "type", "data", "form", "retry"),)
"""The fields of an event's entry, in the order in which the script writes them."""

OPTIONAL_FIELDS = ("mark", "skip")
"""Fields that follow those of an event, if they are not empty."""

OTHER_FIELDS = ("body", "epoch")
"""The field of a control entry, and the field of an entry that begins an epoch."""


class CanaryArguments(NamedTuple):
    token: str


class StateArguments(NamedTuple):
    """The epoch and the position of the acknowledged cursor.

    Both are empty texts if nothing was acknowledged.
    """

    epoch: str
    position: str


class EndArguments(NamedTuple):
    epoch: str


class ReleaseArguments(NamedTuple):
    age_seconds: int


class ControlArguments(NamedTuple):
    max_events: int
    max_controls: int
    max_bytes: int
    max_age_ms: int
    body: str


class AppendArguments(NamedTuple):
    """`DRAFT_ARGUMENTS` of each draft follow."""

    max_events: int
    max_controls: int
    max_bytes: int
    max_age_ms: int
    key_age_seconds: int
    after: str
    touch: str


DRAFT_ARGUMENTS = (
    *("key", "fingerprint", "mark", "topics", "id", "type", "data", "form", "retry", "skip"),
)
"""Of one draft. A plain tuple, because building a named one takes as long again as all the rest."""

type Arguments = (
    CanaryArguments
    | StateArguments
    | EndArguments
    | ReleaseArguments
    | ControlArguments
    | AppendArguments
)

OPERATIONS: dict[type[Arguments], str] = {
    CanaryArguments: "canary",
    StateArguments: "state",
    EndArguments: "end",
    ReleaseArguments: "release",
    ControlArguments: "control",
    AppendArguments: "append",
}

COMMON_ARGUMENTS = ("operation", "fresh_epoch")
"""The arguments that come before those of the operation."""


def _lua_header() -> str:
    """Constants: `APPEND_AFTER` is an index of ARGV, `DRAFT_ID` an offset, `FIELD_ID` a name."""
    constants: dict[str, object] = {name: i for i, name in enumerate(COMMON_ARGUMENTS, 1)}
    for arguments, operation in OPERATIONS.items():
        for index, name in enumerate(arguments._fields, len(COMMON_ARGUMENTS) + 1):
            constants[f"{operation}_{name}"] = index
    for offset, name in enumerate(DRAFT_ARGUMENTS):
        constants[f"draft_{name}"] = offset
    constants["draft_count"] = len(DRAFT_ARGUMENTS)
    constants["drafts_start"] = len(COMMON_ARGUMENTS) + len(AppendArguments._fields) + 1
    for name in (*ENTRY_FIELDS, *OPTIONAL_FIELDS, *OTHER_FIELDS):
        constants[f"field_{name}"] = f"'{name}'"
    return "".join(f"local {name.upper()} = {value}\n" for name, value in constants.items())


LUA_HEADER = _lua_header()

"""The commands that the log sends to Redis, and their replies: pure code, without a connection.

`calls.py` has them sent; the files in Lua execute most of them. `sections.py` has the append.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from notifications.conf.namespace import log_subjects
from notifications.errors import Unavailable
from notifications.log.acks import Mark
from notifications.log.cursors import Cursor, format_position, parse_position
from notifications.log.entries import ControlEntry, Retention
from notifications.log.layout import (
    OPERATIONS,
    AppendArguments,
    Arguments,
    CanaryArguments,
    ControlArguments,
    EndArguments,
    ReleaseArguments,
    StateArguments,
    with_constants,
)


def _script(*operations: str) -> str:
    names = ("log.lua", *operations, "execute.lua")
    return with_constants("\n".join((files(__package__) / name).read_text() for name in names))


APPEND_SCRIPT, SCRIPT = _script("append.lua"), _script("operations.lua", "controls.lua")
"""Two scripts, because Redis defines all functions of a script anew at each call."""
_TEXTS = {
    hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest(): script
    for script in (APPEND_SCRIPT, SCRIPT)
}
APPEND_SHA, SHA = _TEXTS

type Command = Sequence[Any]
"""The name of a Redis command and its arguments."""
type Token = Callable[[int], str]
"""A source of names that nobody else has: hexadecimal digits for a number of random bytes."""

EPOCH_BYTES = 6


@dataclass(frozen=True, slots=True)
class Slack:
    """What the server keeps beyond the retention.

    A tail may lag by this much. So live delivery never depends on how short the history is.
    """

    events: int = 10_000
    controls: int = 10_000
    """Retention knows no control entries: this is how many there are at most."""
    bytes: int = 16 * 1024 * 1024
    ms: int = 10_000


SLACK = Slack()


class Keys:
    """The names of the log's keys in Redis, and the source of new names.

    The braces keep the keys in one slot of a cluster.
    """

    def __init__(self, prefix: str, token: Token = secrets.token_hex) -> None:
        self.token = token
        self.stream = f"{{{prefix}}}:log"
        self.meta = f"{{{prefix}}}:meta"
        self.canary = f"{{{prefix}}}:canary"
        self.controls = f"{{{prefix}}}:controls"
        self.revoked = f"{{{prefix}}}:revoked"
        self.ended = f"{{{prefix}}}:ended:"
        self.reports = f"{{{prefix}}}:reports"
        self._idempotency = f"{{{prefix}}}:once:"
        self._replaced_call = f"{{{prefix}}}:again:"

    def idempotency(self, key: str) -> str:
        """The key that remembers an idempotency key."""
        return self._idempotency + key

    def report(self, process: str) -> str:
        """The key of the report of a process."""
        return f"{self.reports}:{process}"

    def replaced_call(self, mark: str) -> str:
        """The key that a repetition sets if it did not find what the call had appended.

        If the first attempt arrives later, it appends nothing. `mark`: that of the call.
        """
        return self._replaced_call + mark


def evalsha(
    keys: Keys, names: Sequence[str], arguments: Arguments, more: Iterable[Any] = ()
) -> list[Any]:
    names = [keys.stream, keys.meta, *names]
    common = (OPERATIONS[type(arguments)], keys.token(EPOCH_BYTES))
    sha = APPEND_SHA if isinstance(arguments, AppendArguments) else SHA
    return ["EVALSHA", sha, len(names), *names, *common, *arguments, *more]


def as_eval(command: Command) -> list[Any]:
    """The same command for a server that does not have the script yet."""
    _, sha, *rest = command
    return ["EVAL", _TEXTS[sha], *rest]


def state(keys: Keys, known: Mark | None = None) -> list[Any]:
    """Ask for the state. A log that lost the known entries ends its epoch first."""
    if known is None:
        return evalsha(keys, [], StateArguments("", "", ""))
    arguments = StateArguments(*split_cursor(known.cursor), format_position(known.event))
    return evalsha(keys, [], arguments)


def canary(keys: Keys, token: str) -> list[Any]:
    return evalsha(keys, [keys.canary], CanaryArguments(token))


def end(keys: Keys, epoch: str) -> list[Any]:
    return evalsha(keys, [], EndArguments(epoch))


def control(
    keys: Keys, retention: Retention, entry: ControlEntry, *, slack: Slack = SLACK
) -> list[Any]:
    body = {
        "order": entry.action,
        "subjects": entry.subjects,
        "reason": entry.reason,
        "topics": entry.topics,
    }
    if entry.namespace:
        body["namespace"] = entry.namespace
    arguments = ControlArguments(
        *limits(retention, slack),
        key_age_seconds=retention.idempotency_age,
        revoked_ms=int(retention.revocation_age * 1000),
        body=json.dumps(body),
    )
    names = [keys.controls, keys.idempotency(f"control:{entry.id}"), keys.revoked]
    return evalsha(keys, names, arguments, log_subjects(entry.namespace, entry.subjects))


def release(keys: Keys, idempotency_keys: Iterable[str], *, seconds: int) -> list[Any]:
    names = [keys.idempotency(key) for key in idempotency_keys]
    return evalsha(keys, names, ReleaseArguments(seconds))


def wait(replicas: int, timeout: float) -> list[Any]:
    """`WAIT` for this many replicas, for most of a timeout in seconds: its reply needs the rest."""
    return ["WAIT", replicas, int(timeout * 800)]


def limits(retention: Retention, slack: Slack) -> tuple[int, int, int, int]:
    return (
        retention.events + slack.events,
        slack.controls,
        retention.bytes + slack.bytes,
        retention.age * 1000 + slack.ms,
    )


def split_cursor(cursor: Cursor) -> tuple[str, str]:
    return cursor.epoch, format_position(cursor.position)


def read_state(reply: Sequence[Any]) -> Cursor:
    """Raises `Unavailable` if the script failed midway."""
    epoch, last, *_ = reply
    if epoch == b"unknown":
        raise Unavailable(
            f"Redis failed midway: {last.decode(errors='replace')}.", outcome="unknown"
        )
    return Cursor(epoch.decode(), parse_position(last))


def read_clock(reply: Sequence[Any]) -> int | None:
    """The clock of Redis at the reply to `state`, in ms since 1970. None if it may not be read."""
    return int(reply[2]) or None


def info_value(info: bytes, name: str) -> str | None:
    """A value in the reply to `INFO`; None if the server does not tell it."""
    for line in info.decode(errors="replace").splitlines():
        if line.startswith(f"{name}:"):
            return line.partition(":")[2].strip()
    return None


def eviction_risk(policy: str | None) -> str | None:
    """What a server of this policy may do when its memory is full, if that breaks a promise."""
    if policy in (None, "noeviction"):
        return None
    if policy.startswith("volatile-"):  # the log has no expiry, and idempotency keys have
        return "it may forget idempotency keys, and then keeps a repeated publication twice"
    return "it may evict the log, which resets every stream"


def fresh_epoch() -> str:
    return secrets.token_hex(EPOCH_BYTES)

"""The commands that the log sends to Redis, and their replies: pure code, without a connection.

`redis.py` and `redis_sync.py` send these commands; `log.lua` executes most of them.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from redis.exceptions import AuthenticationError, BusyLoadingError, ResponseError

from notifications.conf.namespace import log_subjects, log_topics
from notifications.errors import Conflict, Unavailable
from notifications.log.cursors import Cursor, format_position, parse_position
from notifications.log.entries import ControlEntry, Draft, Receipt, Retention
from notifications.log.layout import (
    COMMON_ARGUMENTS,
    LUA_HEADER,
    OPERATIONS,
    AppendArguments,
    Arguments,
    CanaryArguments,
    ControlArguments,
    EndArguments,
    ReleaseArguments,
    StateArguments,
)

SCRIPT = LUA_HEADER + (files(__package__) / "log.lua").read_text()
SCRIPT_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

_KEY_COUNT = 2
"""The index of the number of keys in `EVALSHA <sha> <number of keys> <key>… <argument>…`."""

type Command = Sequence[Any]
"""The name of a Redis command and its arguments."""


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
    """The names of the log's keys in Redis. The braces keep them in one slot of a cluster."""

    def __init__(self, prefix: str) -> None:
        self.stream = f"{{{prefix}}}:log"
        self.meta = f"{{{prefix}}}:meta"
        self.canary = f"{{{prefix}}}:canary"
        self.controls = f"{{{prefix}}}:controls"
        self._idempotency = f"{{{prefix}}}:once:"
        self._replaced_call = f"{{{prefix}}}:again:"

    def idempotency(self, key: str) -> str:
        """The key that remembers an idempotency key."""
        return self._idempotency + key

    def replaced_call(self, mark: str) -> str:
        """The key that a repetition sets if it did not find what the call had appended.

        If the first attempt arrives later, it appends nothing. `mark`: that of the call.
        """
        return self._replaced_call + mark


def _evalsha(keys: Sequence[str], arguments: Arguments, drafts: Iterable[Any] = ()) -> list[Any]:
    operation = OPERATIONS[type(arguments)]
    common = (operation, fresh_epoch())
    return ["EVALSHA", SCRIPT_SHA, len(keys), *keys, *common, *arguments, *drafts]


def as_eval(command: Command) -> list[Any]:
    """The same command for a server that does not have the script yet."""
    return ["EVAL", SCRIPT, *command[_KEY_COUNT:]]


def state(keys: Keys, acknowledged: Cursor | None = None) -> list[Any]:
    """Ask for the state. A log that lost the acknowledged entry ends its epoch first."""
    cursor = ("", "") if acknowledged is None else _split(acknowledged)
    return _evalsha([keys.stream, keys.meta], StateArguments(*cursor))


def canary(keys: Keys, token: str) -> list[Any]:
    return _evalsha([keys.stream, keys.meta, keys.canary], CanaryArguments(token))


def end(keys: Keys, epoch: str) -> list[Any]:
    return _evalsha([keys.stream, keys.meta], EndArguments(epoch))


def append(
    keys: Keys,
    retention: Retention,
    drafts: Sequence[Draft],
    *,
    touch: bool = False,
    slack: Slack = SLACK,
) -> list[Any]:
    """`touch`: write to Redis in any case, so that `WAIT` has a write to wait for."""
    marks = _marks(drafts)
    names = [keys.stream, keys.meta, keys.replaced_call(marks[0] or drafts[0].event.id)]
    numbers: dict[str, int] = {}
    arguments: list[Any] = []
    for draft, mark in zip(drafts, marks, strict=True):
        number = 0
        if draft.key is not None:
            number = numbers.get(draft.key, 0)
            if not number:
                names.append(keys.idempotency(draft.key))
                number = numbers[draft.key] = len(names)
        event = draft.event
        arguments += (  # In the order of `DRAFT_ARGUMENTS`.
            number,
            draft.fingerprint,
            mark,
            "\n".join(log_topics(draft.namespace, event.topics)),
            event.id,
            event.type or "",
            event.encoded,
            "text" if event.is_text else "json",
            event.retry or "",
            "\n".join(log_subjects(draft.namespace, draft.skip)),
        )
    head = AppendArguments(
        *_limits(retention, slack),
        key_age_seconds=retention.idempotency_age,
        after="",
        touch="1" if touch else "",
    )
    return _evalsha(names, head, arguments)


def _marks(drafts: Sequence[Draft]) -> list[str]:
    """A mark for each draft whose id does not identify it; an empty string for the others."""
    call = secrets.token_hex(8) if any(draft.named for draft in drafts) else ""
    return [f"{call}.{index}" if draft.named else "" for index, draft in enumerate(drafts)]


_AFTER = _KEY_COUNT + 1 + len(COMMON_ARGUMENTS) + AppendArguments._fields.index("after")


def repetition(command: Command, before: Cursor | None) -> list[Any]:
    """The same `append`, sent again because an attempt's outcome is unknown.

    `before`: a cursor that the log had reached before the first attempt.
    """
    after = command[_KEY_COUNT] + _AFTER
    cursor = "- 0-0" if before is None else " ".join(_split(before))
    return [*command[:after], cursor, *command[after + 1 :]]


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
    arguments = ControlArguments(*_limits(retention, slack), body=json.dumps(body))
    return _evalsha([keys.stream, keys.meta, keys.controls], arguments)


def release(keys: Keys, idempotency_keys: Iterable[str], *, seconds: int) -> list[Any]:
    names = [keys.stream, keys.meta, *map(keys.idempotency, idempotency_keys)]
    return _evalsha(names, ReleaseArguments(seconds))


def wait(replicas: int, timeout: float) -> list[Any]:
    """`WAIT` for this many replicas, for most of a timeout in seconds: its reply needs the rest."""
    return ["WAIT", replicas, int(timeout * 800)]


def _limits(retention: Retention, slack: Slack) -> tuple[int, int, int, int]:
    return (
        retention.events + slack.events,
        slack.controls,
        retention.bytes + slack.bytes,
        retention.age * 1000 + slack.ms,
    )


def _split(cursor: Cursor) -> tuple[str, str]:
    return cursor.epoch, format_position(cursor.position)


def read_state(reply: list[bytes]) -> Cursor:
    epoch, last = reply
    return Cursor(epoch.decode(), parse_position(last))


def read_receipts(reply: list[Any], drafts: Iterable[Draft]) -> list[Receipt]:
    """The receipts of these drafts. Raises `Conflict`, and `Unavailable` for an unknown outcome."""
    kind, *content = reply
    if kind == b"unknown":
        raise Unavailable("What became of it can no longer be found out.", outcome="unknown")
    if kind == b"conflict":
        raise Conflict.at(content[0])
    epoch = content[0].decode()
    return [
        Receipt(draft.event.id, Cursor(epoch, parse_position(receipt)))
        if isinstance(receipt, bytes)
        else _read_duplicate(receipt)
        for draft, receipt in zip(drafts, content[1], strict=True)
    ]


def _read_duplicate(receipt: list[bytes]) -> Receipt:
    epoch, position, id = receipt
    return Receipt(id.decode(), read_state([epoch, position]), duplicate=True)


REFUSALS = (ResponseError, BusyLoadingError, AuthenticationError)


def unavailable(error: BaseException, *, sent: bool) -> Unavailable:
    """The error for a failed command. A refusal by the server itself means that it kept nothing."""
    refused = isinstance(error, REFUSALS)
    why = str(error) or "no answer in time"
    return Unavailable(
        f"Redis {'refused' if refused else 'did not acknowledge'} it: {why}.",
        outcome="unknown" if sent and not refused else "not_sent",
    )


def check_replicas(confirmed: int, required: int) -> None:
    """Raise `Unavailable` if too few replicas have confirmed a write."""
    if confirmed < required:
        raise Unavailable(
            f"The log has it, and {confirmed} of {required} replicas confirmed in time.",
            outcome="unknown",
        )


def eviction_policy(info: bytes) -> str:
    """The policy in the reply to `INFO memory`."""
    for line in info.decode(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == "maxmemory_policy":
            return value.strip()
    return "unknown"


def fresh_epoch() -> str:
    return secrets.token_hex(6)

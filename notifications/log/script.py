"""What is said to Redis and what it answers, as pure code: `redis.py` and `appender.py` send it."""

import hashlib
import json
import secrets
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from redis.exceptions import AuthenticationError, BusyLoadingError, ResponseError

from notifications.errors import Conflict, Unavailable
from notifications.log.base import (
    Control,
    Draft,
    Receipt,
    Retention,
)
from notifications.log.cursors import Cursor, format_position, parse_position

SCRIPT = (files(__package__) / "log.lua").read_text()
SCRIPT_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

# The server keeps a little more than is replayed, so that live delivery never depends on how little
# history one keeps: a tail may lag by this much.
SLACK_EVENTS = 10_000
SLACK_BYTES = 16 * 1024 * 1024
SLACK_MS = 10_000


class Keys:
    """The names of our keys. The braces keep them in one slot of a cluster."""

    def __init__(self, prefix: str) -> None:
        self.stream = f"{{{prefix}}}:log"
        self.meta = f"{{{prefix}}}:meta"
        self.canary = f"{{{prefix}}}:canary"
        self._idempotency = f"{{{prefix}}}:once:"
        self._again = f"{{{prefix}}}:again:"

    def once(self, key: str) -> str:
        return self._idempotency + key

    def again(self, mark: str) -> str:
        """What stands for a call that was repeated because nobody knew what had become of it."""
        return self._again + mark


def _call(keys: Sequence[str], *arguments: Any) -> list[Any]:
    return ["EVALSHA", SCRIPT_SHA, len(keys), *keys, *arguments]


def as_eval(call: Sequence[Any]) -> list[Any]:
    """The same call for a server that does not have the script yet."""
    return ["EVAL", SCRIPT, *call[2:]]


def state(keys: Keys, acknowledged: Cursor | None = None) -> list[Any]:
    """Ask for the state. If the log no longer has what it acknowledged, its epoch ends by it."""
    mark = [] if acknowledged is None else _place(acknowledged)
    return _call([keys.stream, keys.meta], "state", fresh_epoch(), *mark)


def canary(keys: Keys, token: str) -> list[Any]:
    names = [keys.stream, keys.meta, keys.canary]
    return _call(names, "canary", fresh_epoch(), token)


def end(keys: Keys, epoch: str) -> list[Any]:
    return _call([keys.stream, keys.meta], "end", fresh_epoch(), epoch)


def append(
    keys: Keys, retention: Retention, drafts: Sequence[Draft], *, touch: bool = False
) -> list[Any]:
    """`touch`: write something in any case, so that there is something to wait for."""
    marks = _marks(drafts)
    names = [keys.stream, keys.meta, keys.again(marks[0] or drafts[0].event.id)]
    numbers: dict[str, int] = {}
    arguments: list[Any] = []
    for draft, mark in zip(drafts, marks, strict=True):
        number = 0
        if draft.key is not None:
            number = numbers.get(draft.key, 0)
            if not number:
                names.append(keys.once(draft.key))
                number = numbers[draft.key] = len(names)
        event = draft.event
        arguments += (
            number,
            draft.fingerprint,
            mark,
            "\n".join(event.topics),
            event.id,
            event.type or "",
            event.encoded,
            "text" if event.is_text else "json",
            event.retry or "",
            "\n".join(draft.skip),
        )
    return _call(
        names,
        "append",
        fresh_epoch(),
        *_limits(retention),
        retention.idempotency_age,
        "",
        "1" if touch else "",
        *arguments,
    )


def _marks(drafts: Sequence[Draft]) -> list[str]:
    """What tells each event from all others; nothing, where its id does."""
    call = secrets.token_hex(8) if any(draft.named for draft in drafts) else ""
    return [f"{call}.{index}" if draft.named else "" for index, draft in enumerate(drafts)]


def repetition(call: Sequence[Any], before: Cursor | None) -> list[Any]:
    """The same `append`, after an attempt of which nothing is known but that it came after this."""
    after = call[2] + 3 + 6
    seen = "- 0-0" if before is None else " ".join(_place(before))
    return [*call[:after], seen, *call[after + 1 :]]


def control(keys: Keys, retention: Retention, control: Control) -> list[Any]:
    body = {
        "order": control.order,
        "subjects": control.subjects,
        "reason": control.reason,
        "topics": control.topics,
    }
    limits = _limits(retention)
    return _call([keys.stream, keys.meta], "control", fresh_epoch(), *limits, json.dumps(body))


def release(keys: Keys, given: Iterable[str], *, after: int) -> list[Any]:
    names = [keys.stream, keys.meta, *map(keys.once, given)]
    return _call(names, "release", fresh_epoch(), after)


def _limits(retention: Retention) -> tuple[int, int, int]:
    return (
        retention.events + SLACK_EVENTS,
        retention.bytes + SLACK_BYTES,
        retention.age * 1000 + SLACK_MS,
    )


def _place(cursor: Cursor) -> tuple[str, str]:
    return cursor.epoch, format_position(cursor.position)


def read_state(reply: list[bytes]) -> Cursor:
    epoch, last = reply
    return Cursor(epoch.decode(), parse_position(last))


def read_receipts(reply: list[Any], drafts: Iterable[Draft]) -> list[Receipt]:
    """What became of these drafts. Raises `Conflict`, and `Unavailable` where nobody can tell."""
    kind, *rest = reply
    if kind == b"unknown":
        raise Unavailable("What became of it can no longer be found out.", outcome="unknown")
    content, *places = rest
    if kind == b"conflict":
        raise Conflict.at(content)
    epoch: str = content.decode()
    return [
        Receipt(draft.event.id, Cursor(epoch, parse_position(said)))
        if isinstance(said, bytes)
        else _repeated(said)
        for draft, said in zip(drafts, *places, strict=True)
    ]


def _repeated(said: list[bytes]) -> Receipt:
    epoch, place, id = said
    return Receipt(id.decode(), read_state([epoch, place]), duplicate=True)


REFUSALS = (ResponseError, BusyLoadingError, AuthenticationError)


def unavailable(error: BaseException, *, sent: bool) -> Unavailable:
    """What a failed call means. A refusal by the server itself kept nothing."""
    refused = isinstance(error, REFUSALS)
    why = str(error) or "no answer in time"
    return Unavailable(
        f"Redis {'refused' if refused else 'did not acknowledge'} it: {why}.",
        outcome="unknown" if sent and not refused else "not_sent",
    )


def check_copies(confirmed: int, wanted: int) -> None:
    """Raises `Unavailable` where fewer replicas than were wanted have what the log has."""
    if confirmed < wanted:
        raise Unavailable(
            f"The log has it, and {confirmed} of {wanted} replicas confirmed in time.",
            outcome="unknown",
        )


def eviction_policy(info: bytes) -> str:
    """From Redis's `INFO memory`."""
    for line in info.decode(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == "maxmemory_policy":
            return value.strip()
    return "unknown"


def fresh_epoch() -> str:
    return secrets.token_hex(6)

"""What is said to Redis and what it answers, as pure code: `redis.py` and `appender.py` send it."""

import hashlib
import json
import secrets
import threading
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from notifications.cursors import Cursor, Position, parse_position
from notifications.errors import Conflict
from notifications.log.base import (
    EVERYONE,
    Batch,
    Control,
    Draft,
    Entry,
    Order,
    Receipt,
    Retention,
)

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

    def once(self, key: str) -> str:
        return self._idempotency + key


type Raw = tuple[bytes, dict[bytes, bytes]]
"""A stream entry as Redis gives it: its name `<ms>-<n>` and its fields."""


def _call(keys: Sequence[str], *arguments: Any) -> list[Any]:
    return ["EVALSHA", SCRIPT_SHA, len(keys), *keys, *arguments]


def as_eval(call: Sequence[Any]) -> list[Any]:
    """The same call for a server that does not have the script yet."""
    return ["EVAL", SCRIPT, *call[2:]]


def state(keys: Keys) -> list[Any]:
    return _call([keys.stream, keys.meta], "state", fresh_epoch())


def end(keys: Keys, epoch: str) -> list[Any]:
    return _call([keys.stream, keys.meta], "end", fresh_epoch(), epoch)


def append(keys: Keys, retention: Retention, drafts: Iterable[Draft]) -> list[Any]:
    names = [keys.stream, keys.meta]
    numbers: dict[str, int] = {}
    arguments: list[Any] = []
    for draft in drafts:
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
            "\n".join(event.topics),
            event.id,
            event.type or "",
            event.encoded,
            "text" if event.is_text else "json",
            event.retry or "",
        )
    return _call(
        names,
        "append",
        fresh_epoch(),
        *_limits(retention),
        retention.idempotency_age,
        *arguments,
    )


def control(keys: Keys, retention: Retention, control: Control) -> list[Any]:
    body = {"order": control.order, "subjects": control.subjects, "reason": control.reason}
    limits = _limits(retention)
    return _call([keys.stream, keys.meta], "control", fresh_epoch(), *limits, json.dumps(body))


def _limits(retention: Retention) -> tuple[int, int, int]:
    return (
        retention.events + SLACK_EVENTS,
        retention.bytes + SLACK_BYTES,
        retention.age * 1000 + SLACK_MS,
    )


def read_state(reply: list[bytes]) -> Cursor:
    epoch, last = reply
    return Cursor(epoch.decode(), parse_position(last.decode()))


def read_receipts(reply: list[Any]) -> list[Receipt]:
    kind, content = reply
    if kind == b"conflict":
        raise Conflict.at(content)
    return [
        Receipt(id.decode(), read_state([epoch, last]), duplicate=bool(duplicate))
        for epoch, last, id, duplicate in content
    ]


def eviction_policy(info: bytes) -> str:
    """From Redis's `INFO memory`."""
    for line in info.decode(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == "maxmemory_policy":
            return value.strip()
    return "unknown"


class Reader:
    """Turns raw stream entries into batches, sharing what repeats from entry to entry."""

    MAX_SHARED = 10_000

    def __init__(self) -> None:
        self._topics: dict[bytes, tuple[str, ...]] = {}
        self._types: dict[bytes, bytes] = {}

    def batch(self, raw: Sequence[Raw]) -> Iterable[Batch]:
        """Batches, one for each run of entries that name each other; unknown kinds only join.

        Entries that are not ours (no `prev`) are passed over.
        """
        prev = last = None
        entries: list[Entry] = []
        controls: list[Control] = []
        for name, fields in raw:
            said = fields.get(b"prev")
            if said is None:
                continue
            before = parse_position(said.decode())
            if before != last:
                if last is not None and prev is not None:
                    yield Batch(prev, last, entries, controls)
                prev, entries, controls = before, [], []
            last = parse_position(name.decode())
            if fields[b"kind"] == b"event":
                entries.append(self._entry(last, fields))
            elif fields[b"kind"] == b"control":
                controls.append(_control(last, fields[b"body"]))
        if last is not None and prev is not None:
            yield Batch(prev, last, entries, controls)

    def _entry(self, position: Position, fields: dict[bytes, bytes]) -> Entry:
        type_, retry = fields[b"type"], fields[b"retry"]
        return Entry(
            position,
            self._shared_topics(fields[b"topics"]),
            fields[b"id"],
            self._types.setdefault(type_, type_) if type_ else None,
            fields[b"data"],
            fields[b"form"] == b"text",
            int(retry) if retry else None,
        )

    def _shared_topics(self, joined: bytes) -> tuple[str, ...]:
        topics = self._topics.get(joined)
        if topics is None:
            if len(self._topics) >= self.MAX_SHARED:
                self._topics.clear()
                self._types.clear()
            topics = self._topics[joined] = tuple(joined.decode().split("\n"))
        return topics


def _control(position: Position, body: bytes) -> Control:
    """An order that this version does not know must not be passed over: all are asked again."""
    try:
        said = json.loads(body)
        return Control(
            Order(said["order"]), tuple(map(str, said["subjects"])), str(said["reason"]), position
        )
    except (ValueError, KeyError, TypeError):
        return Control(Order.RECHECK, (EVERYONE,), "", position)


class Acknowledged:
    """The highest position that this process told a publisher it had kept, whoever appended it.

    If the log does not reach that far after a reconnect, it lost what was acknowledged.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._marks: dict[str, Cursor] = {}

    def note(self, log: str, receipts: Iterable[Receipt]) -> None:
        with self._lock:
            for receipt in receipts:
                mark = self._marks.get(log)
                if (
                    mark is None
                    or mark.epoch != receipt.cursor.epoch
                    or mark.position < receipt.cursor.position
                ):
                    self._marks[log] = receipt.cursor

    def mark(self, log: str) -> Cursor | None:
        return self._marks.get(log)


acknowledged = Acknowledged()


def fresh_epoch() -> str:
    return secrets.token_hex(6)

"""The command that appends publications, a section each, and its reply. Pure code."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from notifications.conf.namespace import log_subjects, log_topics
from notifications.errors import Conflict, Unavailable
from notifications.log.cursors import Cursor, cursor_prefix
from notifications.log.entries import Draft, Receipt, Retention
from notifications.log.layout import AppendArguments
from notifications.log.script import (
    SLACK,
    Keys,
    Slack,
    Token,
    evalsha,
    limits,
    read_state,
    split_cursor,
)

MARK_BYTES = 8
_POSITION = re.compile(rb"[0-9]+-[0-9]+")


@dataclass(frozen=True, slots=True)
class Section:
    """One publication in the script's `append`: all its events are kept or none.

    `names` are its keys, `arguments` those of its drafts. `after` is empty, unless this repeats an
    attempt whose outcome is unknown. `size`: bytes, about.
    """

    names: Sequence[str]
    arguments: Sequence[Any]
    events: int
    size: int
    after: str = ""


def section(keys: Keys, drafts: Sequence[Draft]) -> Section:
    marks = _marks(drafts, keys.token)
    names = [keys.replaced_call(marks[0] or drafts[0].event.id)]
    numbers: dict[str, int] = {}
    arguments: list[Any] = []
    size = 0
    for draft, mark in zip(drafts, marks, strict=True):
        number = 0 if draft.key is None else numbers.get(draft.key, 0)
        if draft.key is not None and not number:
            number = numbers[draft.key] = len(names)
            names.append(keys.idempotency(draft.key))
        event = draft.event
        size += len(event.encoded)
        # In the order of `DRAFT_OPTIONS`.
        options: tuple[Any, ...] = (number, draft.fingerprint, mark, draft.part)
        if event.retry or draft.skip or draft.trace or event.swap is not None:
            skip = "\n".join(log_subjects(draft.namespace, draft.skip))
            swap = "" if event.swap is None else str(event.swap)
            options += (event.retry or "", skip, draft.trace, swap)
        elif not number and not mark:
            options = ()
        arguments += (  # In the order of `DRAFT_ARGUMENTS`.
            len(options),
            "\n".join(log_topics(draft.namespace, event.topics)),
            event.id,
            event.type or "",
            event.encoded,
            "text" if event.is_text else "json",
            *options,
        )
    return Section(names, arguments, len(drafts), size)


def repetition(section: Section, before: Cursor | None) -> Section:
    """The same section, sent again because an attempt's outcome is unknown.

    `before`: a cursor that the log had reached before the first attempt.
    """
    return replace(section, after="- 0-0" if before is None else " ".join(split_cursor(before)))


def append(
    keys: Keys,
    retention: Retention,
    sections: Iterable[Section],
    *,
    touch: bool = False,
    slack: Slack = SLACK,
) -> list[Any]:
    """`touch`: write to Redis in any case, so that `WAIT` has a write to wait for."""
    names: list[str] = []
    arguments: list[Any] = []
    for each in sections:
        names += each.names
        arguments += (len(each.names), each.events, each.after)  # `SECTION_ARGUMENTS`
        arguments += each.arguments
    head = AppendArguments(
        *limits(retention, slack),
        key_age_seconds=retention.idempotency_age,
        touch="1" if touch else "",
    )
    return evalsha(keys, names, head, arguments)


def _marks(drafts: Sequence[Draft], token: Token) -> list[str]:
    """A mark for each draft whose id does not identify it; an empty string for the others."""
    call = token(MARK_BYTES) if any(draft.named for draft in drafts) else ""
    return [f"{call}.{index}" if draft.named else "" for index, draft in enumerate(drafts)]


type SectionReply = Sequence[Any]
"""What the script answers to one section."""


def read_sections(reply: list[Any], count: int) -> list[SectionReply]:
    """The answers to as many sections."""
    if reply[0] == b"unknown":  # The script failed midway, after the last of them.
        return [reply] * count
    if len(reply) != count:
        raise ValueError(f"{len(reply)} answers to {count} sections.")
    return reply


def read_receipts(reply: SectionReply, drafts: Iterable[Draft]) -> list[Receipt]:
    """The receipts of a section's drafts.

    Raises `Conflict`, and `Unavailable` for a refusal and for an unknown outcome.
    """
    kind, *content = reply
    if kind == b"unknown":
        why = f": {content[0].decode(errors='replace')}" if content else ""
        raise Unavailable(f"What became of it can no longer be found out{why}.", outcome="unknown")
    if kind == b"refused":
        why = content[0].decode(errors="replace")
        raise Unavailable(f"Redis refused it: {why}.", outcome="not_sent")
    if kind == b"conflict":
        raise Conflict.at(content[0])
    prefix, replies = cursor_prefix(content[0].decode()), content[1]
    positions = [reply for reply in replies if isinstance(reply, bytes)]
    if not all(map(_POSITION.fullmatch, positions)):
        raise ValueError("A receipt is no position.")
    return [
        Receipt(draft.event.id, prefix + reply.decode())
        if isinstance(reply, bytes)
        else _read_duplicate(reply)
        for draft, reply in zip(drafts, replies, strict=True)
    ]


def _read_duplicate(receipt: list[bytes]) -> Receipt:
    epoch, position, id = receipt
    return Receipt(id.decode(), str(read_state([epoch, position])), duplicate=True)

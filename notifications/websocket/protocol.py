"""What is said over a WebSocket, both ways: JSON, in text messages.

From a client, each is a command. To a client, each is a frame, `{"id": …, "messages": […]}`: the
name of the subscription that it is about, or null for the whole connection, and what is said of it,
one thing or several, in order.
"""

import json
from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from notifications.errors import BadRequest, CarillonError, TooLarge
from notifications.events import compact_json
from notifications.hub import encoders
from notifications.hub.encoders import Encoder
from notifications.log.base import Entry, ResetReason
from notifications.log.cursors import Cursor

SUBPROTOCOL = "carillon.v1"
MAX_COMMAND = 32 * 1024
"""Characters, which is more than a hundred topics of the longest."""

_BETWEEN = b",\n"


class Messages(Encoder):
    """Each piece ends with what separates it from the next."""

    def event(self, epoch: str, entry: Entry, asked: Collection[str]) -> bytes:
        cursor = str(Cursor(epoch, entry.position))
        envelope = encoders.in_json(entry, asked)
        return b'{"type":"event","cursor":"%b","event":%b},\n' % (
            cursor.encode(),
            envelope.encode(),
        )

    def cursor(self, at: Cursor) -> bytes:
        return piece("cursor", cursor=str(at))

    def reset(self, at: Cursor, reason: ResetReason) -> bytes:
        return piece("reset", cursor=str(at), reason=reason)

    def denied(self, at: Cursor, topics: Collection[str]) -> bytes:
        return piece("denied", topics=list(topics), reason="forbidden")

    def closing(self, reason: str) -> bytes:
        return piece("closing", reason=reason)


MESSAGES = Messages()


def piece(type: str, **fields: Any) -> bytes:
    return compact_json({"type": type, **fields}).encode() + _BETWEEN


def error(problem: CarillonError) -> bytes:
    return piece("error", code=problem.code, detail=problem.detail)


def reason_of(closing: bytes) -> str:
    """Why, as `Messages.closing` said it."""
    reason: str = json.loads(closing.removesuffix(_BETWEEN))["reason"]
    return reason


def frame(id: str | None, pieces: bytes) -> str:
    return f'{{"id":{json.dumps(id)},"messages":[{pieces.removesuffix(_BETWEEN).decode()}]}}'


# What a client says


class _Command(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Subscribe(_Command):
    """`topics` from `cursor` on, or `since`; with an `id` in use, in place of that one."""

    type: Literal["subscribe"]
    topics: Annotated[list[str], Field(default_factory=list)]
    cursor: str | None = None
    since: str | None = None


class Unsubscribe(_Command):
    type: Literal["unsubscribe"]


type Command = Subscribe | Unsubscribe

_command: TypeAdapter[Command] = TypeAdapter(
    Annotated[Subscribe | Unsubscribe, Field(discriminator="type")]
)


class Unreadable(BadRequest):
    """`id` is what the client called it, where that much can be read."""

    def __init__(self, detail: str, id: str | None = None) -> None:
        super().__init__(detail)
        self.id = id


def command(text: str | None) -> Command:
    """Raises `TooLarge`, and `Unreadable` for all else that is none; None is a binary message."""
    if text is None:
        raise Unreadable("Commands are JSON in text messages; this one is binary.")
    if len(text) > MAX_COMMAND:
        raise TooLarge(f"A command has at most {MAX_COMMAND} characters; this has {len(text)}.")
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise Unreadable(f"This is not JSON: {fault}.") from None
    try:
        return _command.validate_python(given)
    except ValidationError as fault:
        raise Unreadable(_explain(fault), _id_of(given)) from None


def _explain(fault: ValidationError) -> str:
    return "; ".join(
        ": ".join(
            [
                *[".".join(str(part) for part in each["loc"][1:])][: len(each["loc"]) > 1],
                each["msg"],
            ]
        )
        for each in fault.errors(include_url=False)
    )


def _id_of(given: object) -> str | None:
    id = given.get("id") if isinstance(given, dict) else None
    return id if isinstance(id, str) and 0 < len(id) <= 64 else None

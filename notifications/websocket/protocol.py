"""The JSON protocol `carillon.v1`, in text messages of a WebSocket.

A client sends commands. The server sends frames, `{"id": …, "messages": […]}`: the `id` of the
subscription that the messages are about, or null for the whole connection, and one or several
messages in order.

Encoded messages are bytes that each end with a separator, so that they can be joined.
"""

import json
from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from notifications.errors import BadRequest, CarillonError, TooLarge
from notifications.events import compact_json
from notifications.hub import encoders
from notifications.hub.encoders import Encoder
from notifications.log.cursors import Cursor
from notifications.log.entries import ResetReason
from notifications.log.records import Entry

SUBPROTOCOL = "carillon.v1"
MAX_COMMAND_CHARACTERS = 32 * 1024
"""More than a hundred topics of the greatest length take."""
MAX_ID_CHARACTERS = 64

_SEPARATOR = b",\n"


# From the server


class MessageEncoder(Encoder):
    def event(self, epoch: str, entry: Entry, asked: Collection[str]) -> bytes:
        cursor = str(Cursor(epoch, entry.position))
        envelope = encoders.envelope_json(entry, asked)
        return b'{"type":"event","cursor":"%b","event":%b},\n' % (
            cursor.encode(),
            envelope.encode(),
        )

    def cursor(self, at: Cursor) -> bytes:
        return encode_message("cursor", cursor=str(at))

    def reset(self, at: Cursor, reason: ResetReason) -> bytes:
        return encode_message("reset", cursor=str(at), reason=reason)

    def denied(self, at: Cursor, topics: Collection[str]) -> bytes:
        return encode_message("denied", topics=list(topics), reason="forbidden")

    def closing(self, reason: str) -> bytes:
        return encode_message("closing", reason=reason)


MESSAGE_ENCODER = MessageEncoder()


def encode_message(type: str, **fields: Any) -> bytes:
    return compact_json({"type": type, **fields}).encode() + _SEPARATOR


def encode_error(error: CarillonError) -> bytes:
    return encode_message("error", code=error.code, detail=error.detail)


def closing_reason(message: bytes) -> str:
    """The reason in a message that `MessageEncoder.closing` made."""
    reason: str = json.loads(message.removesuffix(_SEPARATOR))["reason"]
    return reason


def encode_frame(id: str | None, messages: bytes) -> str:
    return f'{{"id":{json.dumps(id)},"messages":[{messages.removesuffix(_SEPARATOR).decode()}]}}'


# From the client


class _Command(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARACTERS)]


class Subscribe(_Command):
    """`topics` from `cursor` on, or `since`. An `id` in use replaces that subscription."""

    type: Literal["subscribe"]
    topics: Annotated[list[str], Field(default_factory=list)]
    cursor: str | None = None
    since: str | None = None


class Unsubscribe(_Command):
    type: Literal["unsubscribe"]


type Command = Subscribe | Unsubscribe

_command_adapter: TypeAdapter[Command] = TypeAdapter(
    Annotated[Subscribe | Unsubscribe, Field(discriminator="type")]
)


class InvalidCommand(BadRequest):
    """`id` is the one in the command, or None if it cannot be read."""

    def __init__(self, detail: str, id: str | None = None) -> None:
        super().__init__(detail)
        self.id = id


def parse_command(text: str | None) -> Command:
    """Raises `TooLarge`, or else `InvalidCommand`. The text of a binary message is None."""
    if text is None:
        raise InvalidCommand("Commands are JSON in text messages; this one is binary.")
    if len(text) > MAX_COMMAND_CHARACTERS:
        raise TooLarge(
            f"A command has at most {MAX_COMMAND_CHARACTERS} characters; this has {len(text)}."
        )
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidCommand(f"This is not JSON: {error}.") from None
    try:
        return _command_adapter.validate_python(content)
    except ValidationError as error:
        raise InvalidCommand(_explain(error), _id_of(content)) from None


def _explain(error: ValidationError) -> str:
    """Each fault as `field: reason`. The first part of its location is the type of the command."""
    return "; ".join(
        ": ".join(
            [
                *[".".join(str(part) for part in fault["loc"][1:])][: len(fault["loc"]) > 1],
                fault["msg"],
            ]
        )
        for fault in error.errors(include_url=False)
    )


def _id_of(content: object) -> str | None:
    id = content.get("id") if isinstance(content, dict) else None
    return id if isinstance(id, str) and 0 < len(id) <= MAX_ID_CHARACTERS else None

"""Ended streams, the commands about them and the replies: pure code, without a connection.

`controls.lua` executes the commands.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from notifications.log.cursors import Cursor, format_position, parse_position
from notifications.log.layout import RecallArguments, RememberArguments
from notifications.log.script import Keys, evalsha


@dataclass(frozen=True, slots=True)
class EndedStream:
    """What the log remembers, for a short while, of a stream that was interrupted.

    `name` finds it again: hexadecimal digits. It is answered only for as long as no control entry
    after `as_of`, a moment of the same epoch, names one of its `subjects`, which are as the log has
    them. `body` is one line of text, which only its writer reads.
    """

    name: str
    as_of: Cursor
    subjects: tuple[str, ...]
    body: str


@dataclass(frozen=True, slots=True)
class Recalled:
    """An ended stream that the log remembers for `left` seconds more."""

    stream: EndedStream
    left: float


class StreamMemory(ABC):
    """What a log remembers of ended streams, for as long as no control entry concerns them."""

    @abstractmethod
    async def remember(self, ended: Mapping[str, EndedStream | None], *, seconds: float) -> None:
        """Remember ended streams by their names for this long; None: forget what has the name.

        Raises `Unavailable`.
        """

    @abstractmethod
    async def recall(self, names: Sequence[str]) -> list[Recalled | None]:
        """The ended streams of these names, in their order.

        None where none is remembered, where a control entry has named a subject of the stream since
        `as_of`, and where that is not known for certain. Raises `Unavailable`.
        """


def remember(keys: Keys, ended: Mapping[str, EndedStream | None], *, seconds: float) -> list[Any]:
    names = [keys.ended + name for name in ended]
    values = [_written(stream) if stream else "" for stream in ended.values()]
    return evalsha(keys, names, RememberArguments(int(seconds * 1000)), values)


def recall(keys: Keys, names: Sequence[str]) -> list[Any]:
    ended = [keys.ended + name for name in names]
    return evalsha(keys, [keys.controls, keys.revoked, *ended], RecallArguments())


def read_recalled(reply: Sequence[Any], names: Sequence[str]) -> list[Recalled | None]:
    return [
        None if found is None else Recalled(_read(name, found[0]), found[1] / 1000)
        for name, found in zip(names, reply, strict=True)
    ]


def _written(stream: EndedStream) -> str:
    as_of = stream.as_of
    position = format_position(as_of.position)
    return "\n".join((as_of.epoch, position, stream.body, *stream.subjects))


def _read(name: str, value: bytes) -> EndedStream:
    epoch, position, body, *subjects = value.decode(errors="replace").split("\n")
    return EndedStream(
        name, Cursor(epoch, parse_position(position.encode())), tuple(subjects), body
    )

"""Forms: how what a stream says is written for those who asked for it that way."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import ClassVar

from notifications import blocks
from notifications.cursors import Cursor, Position
from notifications.log.base import Entry, ResetReason


class Form(ABC):
    """Pieces of it can be joined, and what they make is what a wire carries.

    `names_topics`: what is made of an event depends on the topics that were asked for.
    `opens_alike`: the opening is a keep-alive, unless there is more to say.
    """

    names_topics: ClassVar[bool] = True
    opens_alike: ClassVar[bool] = True

    def beginning(self, since: Mapping[str, Position]) -> "Form":
        """The same for one whose topics begin at different places, while it is told of these."""
        del since
        return self

    def opening(self, at: Cursor, reset: ResetReason | None, lost: Collection[str]) -> bytes:
        """The first words. `lost`: the topics of which `reset` is said, if it is not all."""
        del lost
        return self.reset(at, reset) if reset else self.cursor(at)

    @abstractmethod
    def event(self, epoch: str, entry: Entry, asked: Collection[str]) -> bytes: ...

    @abstractmethod
    def cursor(self, at: Cursor) -> bytes:
        """The opening of a stream, and its keep-alive: the place that it goes on from."""

    @abstractmethod
    def reset(self, at: Cursor, reason: ResetReason) -> bytes:
        """What came before `at` may be incomplete."""

    @abstractmethod
    def denied(self, at: Cursor, topics: Collection[str]) -> bytes:
        """Some of the topics that were asked for may not be heard."""

    @abstractmethod
    def closing(self, reason: str) -> bytes:
        """The stream ends, and this is why."""

    def forbidden(self, reason: str, topics: Collection[str]) -> bytes:
        """The stream ends, since these of its topics may not be heard any more."""
        del topics
        return self.closing(reason)


class _Blocks(Form):
    """Server-Sent Events."""

    names_topics = False

    def event(self, epoch: str, entry: Entry, asked: Collection[str]) -> bytes:
        return blocks.event(epoch, entry)

    def cursor(self, at: Cursor) -> bytes:
        return blocks.cursor(at)

    def reset(self, at: Cursor, reason: ResetReason) -> bytes:
        return blocks.reset(at, reason)

    def denied(self, at: Cursor, topics: Collection[str]) -> bytes:
        return blocks.denied(at, topics)

    def closing(self, reason: str) -> bytes:
        return blocks.closing(reason)


class _Enveloped(_Blocks):
    """The same, with each event as an untyped message that holds all of it."""

    names_topics = True

    def event(self, epoch: str, entry: Entry, asked: Collection[str]) -> bytes:
        return blocks.enveloped(epoch, entry, asked)


PLAIN: Form = _Blocks()
ENVELOPED: Form = _Enveloped()

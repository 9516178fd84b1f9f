"""What sends the deliveries of one channel: an interface, and the errors that it may raise."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING, Any
from uuid import UUID

from notifications.inbox.channels import Channel
from notifications.inbox.rendering import Content, Renderer

if TYPE_CHECKING:
    from notifications.inbox.models import Notification


class Refused(Exception):
    """This delivery fails for good: to try again would change nothing."""


class NoText(Refused):
    """There is nothing to send: the template of the kind failed, or has no words."""


class TryLater(Exception):
    """What failed may pass: the delivery is sent again, after this pause at least."""

    def __init__(self, words: str, pause: timedelta = timedelta()) -> None:
        super().__init__(words)
        self.pause = pause


class Unreachable(Exception):
    """The person turns out to have no address any more."""


class Away(Exception):
    """Nothing can be sent now, by no fault of the delivery. It waits with all others."""


@dataclass(frozen=True, slots=True)
class Message:
    """What one person is to get: one notification, or those of a digest, newest first."""

    id: UUID
    recipient: Any
    notifications: "Sequence[Notification]"
    is_digest: bool
    zone: tzinfo
    """The time zone of the person."""
    using: str
    reached: list[str] = field(default_factory=list)
    """The addresses that have it: a sender adds those, and removes where it is taken back."""


class Sender(ABC):
    """Opened before it sends, and closed after some deliveries. It runs in one thread."""

    @abstractmethod
    def can_reach(self, recipient: Any, using: str) -> bool:
        """Whether this user has an address at all."""

    @abstractmethod
    def send(self, message: Message) -> None:
        """Send it, or raise. No transaction is open.

        Raises `Refused`, `Unreachable` or `Away`. Anything else is a failure that may pass, as
        `TryLater`: the delivery is sent again, although nobody knows whether it was sent now.
        """

    def take_back(self, messages: Sequence[Message]) -> bool:
        """Have what one person was sent disappear, and return whether any did.

        An address from which a message has disappeared, or cannot, leaves its `reached`. Raises as
        `send` does if there are others.
        """
        return False

    @abstractmethod
    def close(self) -> None:
        """Give up connections. Raises nothing."""


def content_of(notification: "Notification", renderer: Renderer) -> Content:
    """The text. Raises `TryLater` where it needs a database that is away."""
    content = renderer.content(notification)
    if content.is_away:
        raise TryLater(f"The text of the kind {notification.kind!r} needs a database that is away.")
    return content


_senders: dict[Channel, Callable[[], Sender]] = {}


def register(channel: Channel, sender: Callable[[], Sender]) -> None:
    """Have `sender` make what sends the deliveries of a channel."""
    _senders[channel] = sender


def sender_of(channel: Channel) -> Sender | None:
    make = _senders.get(channel)
    return None if make is None else make()

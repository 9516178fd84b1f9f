"""What sends the deliveries of one channel: an interface, and the errors that it may raise."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING, Any
from uuid import UUID

from notifications.inbox.channels import Channel

if TYPE_CHECKING:
    from notifications.inbox.models import Notification


class Refused(Exception):
    """This delivery fails for good: to try again would change nothing."""


class NoText(Refused):
    """There is nothing to send: the template of the kind failed, or has no words."""


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


class Sender(ABC):
    """Opened before it sends, and closed after some deliveries. It runs in one thread."""

    @abstractmethod
    def can_reach(self, recipient: Any) -> bool:
        """Whether this user has an address at all."""

    @abstractmethod
    def send(self, message: Message) -> None:
        """Send it, or raise. No transaction is open.

        Raises `Refused` or `Away`. Anything else is a failure that may pass: the delivery is sent
        again later, although nobody knows whether it was sent now.
        """

    @abstractmethod
    def close(self) -> None:
        """Give up connections. Raises nothing."""


_senders: dict[Channel, Callable[[], Sender]] = {}


def register(channel: Channel, sender: Callable[[], Sender]) -> None:
    """Have `sender` make what sends the deliveries of a channel."""
    _senders[channel] = sender


def sender_of(channel: Channel) -> Sender | None:
    make = _senders.get(channel)
    return None if make is None else make()

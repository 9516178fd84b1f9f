"""The ways to reach a person, and what a person may choose of them."""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise

type Text = str | Promise

_TOPIC = re.compile(r"[\w-]{0,32}", re.ASCII)


class Channel(StrEnum):
    """A way to reach a person."""

    IN_APP = "in-app"
    EMAIL = "email"
    PUSH = "push"


MAX_CHANNEL_CHARACTERS = 10
MAX_ENDPOINT_CHARACTERS = 2_000
"""Of the address of a device at its push service."""


class Choice(StrEnum):
    """What a category leaves to a person, for one channel."""

    ON = "on"
    """On, until the person switches it off."""
    OFF = "off"
    """Off, until the person switches it on."""
    ALWAYS = "always"
    """On, and nobody can switch it off."""


DEFAULT_CHOICES = {
    Channel.IN_APP: Choice.ALWAYS,
    Channel.EMAIL: Choice.ON,
    Channel.PUSH: Choice.ON,
}


class Digest(StrEnum):
    """How often a person wants e-mail: one for each notification, or one for all of a time."""

    OFF = "off"
    DAILY = "daily"
    WEEKLY = "weekly"


@dataclass(frozen=True, slots=True)
class Email:
    """An e-mail about what is unseen `after` this time.

    `template` is the beginning of the names of templates: of `shop/email/paid` it takes
    `shop/email/paid_subject.txt`, `shop/email/paid.txt` and `shop/email/paid.html`, and those of
    Carillon in the place of any that is missing.
    """

    after: timedelta = timedelta(minutes=10)
    template: str = ""


class Urgency(StrEnum):
    """What a device that saves power still wakes up for (RFC 8030 §5.3)."""

    VERY_LOW = "very-low"
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Push:
    """A push message to a person's devices about what is unseen `after` this time.

    While a device is away, its push service keeps the message for `ttl` (RFC 8030 §5.2). The
    `urgency` is that of the notification's priority, if none is given. Of the messages of one
    `topic`, up to 32 letters, digits, `-` and `_`, a device that was away gets the newest alone
    (§5.4). The `title` stands above the text: without one it is that of the category. Raises
    `ImproperlyConfigured`.
    """

    after: timedelta = timedelta(0)
    ttl: timedelta = timedelta(days=1)
    urgency: Urgency | str | None = None
    topic: str = ""
    title: Text = ""

    def __post_init__(self) -> None:
        if self.urgency is not None and self.urgency not in list(Urgency):
            words = ", ".join(map(repr, map(str, Urgency)))
            raise ImproperlyConfigured(
                f"{self.urgency!r} is no urgency of a push message: it is one of {words}."
            )
        if not _TOPIC.fullmatch(self.topic):
            raise ImproperlyConfigured(
                f"{self.topic!r} is no topic of a push message: it has up to 32 letters, digits, "
                "- and _."
            )
        if self.ttl < timedelta(0):
            raise ImproperlyConfigured("The ttl of a push message is at least 0.")

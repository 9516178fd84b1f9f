"""The ways to reach a person, and what a person may choose of them."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Channel(StrEnum):
    """A way to reach a person."""

    IN_APP = "in-app"
    EMAIL = "email"
    PUSH = "push"


MAX_CHANNEL_CHARACTERS = 10


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

"""What is known of whoever asks, however they showed it."""

from dataclasses import dataclass, field
from enum import StrEnum

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser

from notifications.topics import Pattern

type User = AbstractBaseUser | AnonymousUser


class Verb(StrEnum):
    SUBSCRIBE = "subscribe"
    PUBLISH = "publish"


class Kind(StrEnum):
    ANONYMOUS = "anonymous"
    SESSION = "session"
    KEY = "key"
    TOKEN = "token"  # noqa: S105
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Scope:
    """What credentials allow by themselves, whatever the rules say about users.

    `topics` may be subscribed to, and nothing beneath them; patterns cover that too.
    """

    subscribe: tuple[Pattern, ...] = ()
    publish: tuple[Pattern, ...] = ()
    topics: tuple[str, ...] = ()

    def allows(self, verb: Verb, topic: str) -> bool:
        if verb is Verb.PUBLISH:
            return any(pattern.covers(topic) for pattern in self.publish)
        return topic in self.topics or any(pattern.covers(topic) for pattern in self.subscribe)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """`name` is what audits and idempotency keys know them by; it tells no secret.

    `subjects` are the names under which a control entry ends their streams (`user:5`,
    `session:<digest>`, `key:3`). `until` (seconds since 1970) is when the credentials end. With a
    `scope` it alone decides; without one, the rules do, by the `user`. `credentials` is what it
    takes to ask again, by the module that made it, whether they still are who they were.
    """

    kind: Kind
    name: str
    subjects: tuple[str, ...] = ()
    user: User = field(default_factory=AnonymousUser)
    until: float | None = None
    scope: Scope | None = None
    credentials: str | None = field(default=None, repr=False)

"""The identity of a request, whichever credentials it was authenticated by."""

from dataclasses import dataclass, field
from enum import StrEnum

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser

from notifications.access.identities.session_life import SessionLife
from notifications.access.identities.substitution import Substitution
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
    """The topics that credentials allow by themselves, whatever the rules allow their user.

    A pattern covers the topics below it too; an entry of `topics` allows only that topic, and only
    to subscribe.
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
    """The owner of a request's credentials.

    `name` stands for the owner in audit lines and idempotency keys, and contains no secret.
    `subjects` are the names under which a control entry ends the owner's streams (`user:5`,
    `session:<digest>`, `key:3`). `until` (seconds since 1970) is when the credentials end. A
    `scope` alone decides what is allowed; without a scope the rules decide, by the `user`.
    `credentials` is what the module that made the identity needs to authenticate it again, and
    `substitution` what it needs besides where a middleware put another user in place of the
    session's own. `life` is that of the session, where its own user counts. `namespace` is where
    all of that is valid.
    """

    kind: Kind
    name: str
    subjects: tuple[str, ...] = ()
    user: User = field(default_factory=AnonymousUser)
    until: float | None = None
    scope: Scope | None = None
    credentials: str | None = field(default=None, repr=False)
    substitution: Substitution | None = field(default=None, repr=False)
    life: SessionLife | None = field(default=None, repr=False)
    namespace: str = ""

    def is_over(self, now: float) -> bool:
        """Whether the credentials have ended by this time."""
        return self.until is not None and self.until <= now

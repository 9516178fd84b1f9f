"""Grants: which topics a client may subscribe to, until when, and how to ask again."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from django.utils.crypto import salted_hmac

from notifications.conf.namespace import log_subjects, log_topic, log_topics
from notifications.log.cursors import Cursor
from notifications.log.ended import EndedStream
from notifications.topics import one_line_name


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grant:
    """The `topics` that were allowed, and those that were `denied`.

    `since`: the time (ms since 1970) from which a topic may be replayed, for topics whose whole
    history the client may not have. `subjects`: the names under which a control entry concerns the
    grant. `namespace`: that of the topics and subjects, which the log puts in front of them.
    `until`: when the grant ends, in seconds since 1970. `as_of`: the head of this process before
    the permissions were read. Control entries after it are applied to the grant. `renew` reads the
    permissions again: it returns the present grant, or None if there is none any more, and raises
    what its database raises; if it is `Continuable`, the stream may be continued after an
    interruption. `confirmed`: when the permissions were read, by the event loop's clock; None: just
    now.
    """

    topics: tuple[str, ...]
    denied: tuple[str, ...] = ()
    since: Mapping[str, int] = field(default_factory=dict)
    subjects: tuple[str, ...] = ()
    until: float | None = None
    as_of: Cursor | None = None
    renew: Callable[[], Awaitable["Grant | None"]] | None = None
    namespace: str = ""
    confirmed: float | None = None

    @property
    def log_topics(self) -> tuple[str, ...]:
        """The topics as the log has them."""
        return log_topics(self.namespace, self.topics)

    @property
    def log_since(self) -> Mapping[str, int]:
        if not self.namespace:
            return self.since
        return {log_topic(self.namespace, topic): ms for topic, ms in self.since.items()}

    @property
    def log_subjects(self) -> tuple[str, ...]:
        return log_subjects(self.namespace, self.subjects)

    def still_covers(self, earlier: "Grant") -> bool:
        """Whether this grant allows all topics of the earlier one."""
        return set(self.topics) >= set(earlier.topics)


class Continuable(ABC):
    """The `renew` of a grant whose stream may go on after an interruption, without the database."""

    @abstractmethod
    async def __call__(self) -> Grant | None: ...

    @abstractmethod
    def name(self) -> str | None:
        """What finds the stream again; None if it cannot be continued."""

    @abstractmethod
    def ended(self, name: str, grant: Grant, *, age: float) -> EndedStream | None:
        """What is remembered of the stream, `age` seconds after its permissions were read."""


class Unsettled(Exception):
    """The credentials of a grant are being changed just now: ask again soon.

    Raised by `Grant.renew`. What is still unsettled after `limit_seconds` counts as ended.
    """

    def __init__(self, limit_seconds: float) -> None:
        super().__init__(f"not settled within {limit_seconds} s")
        self.limit_seconds = limit_seconds


# A control entry finds streams by their subjects, which travel in the log: so they are no secrets.


def user_subject(pk: object) -> str:
    return f"user:{one_line_name(pk)}"


def session_subject(session_key: str) -> str:
    """The subject of a session that has no id of its login (`access/identities/logins.py`)."""
    digest = salted_hmac("carillon.session", session_key, algorithm="sha256")
    return f"session:{digest.hexdigest()[:32]}"


def topic_subject(topic: str) -> str:
    return f"topic:{topic}"

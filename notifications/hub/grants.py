"""Grants: which topics a client may subscribe to, until when, and how to ask again."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from django.utils.crypto import salted_hmac

from notifications.log.cursors import Cursor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grant:
    """The `topics` that were allowed, and those that were `denied`.

    `since`: the time (ms since 1970) from which a topic may be replayed, for topics whose whole
    history the client may not have. `subjects`: the names under which a control entry concerns the
    grant. `until`: when it ends, in seconds since 1970. `as_of`: the head of this process before
    the permissions were read. Control entries after it are applied to the grant. `renew` reads the
    permissions again: it returns the present grant, or None if there is none any more, and raises
    what its database raises.
    """

    topics: tuple[str, ...]
    denied: tuple[str, ...] = ()
    since: Mapping[str, int] = field(default_factory=dict)
    subjects: tuple[str, ...] = ()
    until: float | None = None
    as_of: Cursor | None = None
    renew: Callable[[], Awaitable["Grant | None"]] | None = None

    def still_covers(self, earlier: "Grant") -> bool:
        """Whether this grant allows all topics of the earlier one."""
        return set(self.topics) >= set(earlier.topics)


# A control entry finds streams by their subjects, which travel in the log: so they are no secrets.


def user_subject(pk: object) -> str:
    return f"user:{pk}"


def session_subject(session_key: str) -> str:
    digest = salted_hmac("carillon.session", session_key, algorithm="sha256")
    return f"session:{digest.hexdigest()[:32]}"


def topic_subject(topic: str) -> str:
    return f"topic:{topic}"

"""Grants: what a subscriber may hear, until when, and how to ask again."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from django.utils.crypto import salted_hmac

from notifications.log.cursors import Cursor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grant:
    """`topics` were allowed and `denied` were not.

    `since` says of topics whose history is not all theirs from when on it may be replayed (ms
    since 1970). `subjects` are the names under which a control entry concerns it. `until` is
    seconds since 1970.
    `as_of` is the head of this process from before anything was asked, so that a permission that
    ends meanwhile is not missed. `renew` asks everything again: it gives the grant as it is now, or
    None if there is none any more, and raises what its database raises.
    """

    topics: tuple[str, ...]
    denied: tuple[str, ...] = ()
    since: Mapping[str, int] = field(default_factory=dict)
    subjects: tuple[str, ...] = ()
    until: float | None = None
    as_of: Cursor | None = None
    renew: Callable[[], Awaitable["Grant | None"]] | None = None

    def still_covers(self, earlier: "Grant") -> bool:
        """Whether everything that was allowed before still is."""
        return set(self.topics) >= set(earlier.topics)


# Subjects: the names under which a control entry finds streams. They tell no secret.


def user_subject(pk: object) -> str:
    return f"user:{pk}"


def session_subject(session_key: str) -> str:
    digest = salted_hmac("carillon.session", session_key, algorithm="sha256")
    return f"session:{digest.hexdigest()[:32]}"


def topic_subject(topic: str) -> str:
    return f"topic:{topic}"

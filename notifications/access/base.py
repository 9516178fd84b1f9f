"""What an application says about who may hear and who may speak."""

from collections.abc import Awaitable
from datetime import datetime

from notifications.access.identities.base import User

type Answer = bool | datetime
"""Yes, no, or yes until then (an aware time)."""


class Access:
    """Denies everything: override what is to be allowed.

    `can_subscribe` and `can_publish` may be ordinary methods, which run in a thread and may use the
    database, or `async` ones. They are asked about one topic at a time, when a stream opens, when
    somebody publishes, and again whenever the answer may have changed; keys, tokens and links,
    which say themselves what they allow, are not asked about here.
    """

    def is_public(self, topic: str) -> bool:
        """Whether everybody may hear it, so that nobody needs to be asked who they are."""
        del topic
        return False

    def can_subscribe(self, user: User, topic: str) -> Answer | Awaitable[Answer]:
        del user, topic
        return False

    def can_publish(self, user: User, topic: str) -> Answer | Awaitable[Answer]:
        del user, topic
        return False

    def history_since(self, user: User, topic: str) -> datetime | None:
        """From when on its history may be replayed to this user, as an aware time; None: all of it.

        Asked about topics that they may subscribe to and that are not public, in a thread.
        """
        del user, topic
        return None

    def can_link(self, topic: str) -> bool:
        """Whether a signed link opens it. The application signed it, so that it does."""
        del topic
        return True

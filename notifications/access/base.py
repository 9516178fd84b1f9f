"""The interface of access rules: what an application implements to allow topics to users."""

from collections.abc import Awaitable, Collection
from datetime import datetime

from notifications.access.identities.base import User

type Answer = bool | datetime
"""Whether something is allowed; a time (aware) means: allowed until then."""


class Access:
    """Denies everything: override the methods that should allow something.

    `can_subscribe` and `can_publish` may be ordinary methods, which run in a thread and may use the
    database, or `async` methods. They get one topic at a time: when a stream opens, when a user
    publishes, and again whenever the answer may have changed. They are not called for keys, tokens
    and links, whose scope decides alone.

    `user_fields` names the fields of the user model on which the answers depend, besides
    `is_active`, `is_staff`, `is_superuser` and the password. Saving a user is followed by a recheck
    only if it may have changed one of them. None: any field but `last_login`.
    """

    user_fields: Collection[str] | None = None

    @property
    def declares_user_fields(self) -> bool:
        """Whether `user_fields` is about all that these rules ask, backends included."""
        return self.user_fields is not None

    def is_public(self, topic: str) -> bool:
        """Whether everybody may subscribe, so that no credentials have to be read."""
        del topic
        return False

    def can_subscribe(self, user: User, topic: str) -> Answer | Awaitable[Answer]:
        del user, topic
        return False

    def can_publish(self, user: User, topic: str) -> Answer | Awaitable[Answer]:
        del user, topic
        return False

    def history_since(self, user: User, topic: str) -> datetime | None:
        """The time (aware) from which the topic may be replayed to this user; None: all of it.

        Called in a thread, for topics that the user may subscribe to and that are not public.
        """
        del user, topic
        return None

    def can_link(self, topic: str) -> bool:
        """Whether a signed link opens the topic. By default yes: the application signs its links
        itself."""
        del topic
        return True

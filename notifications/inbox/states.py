"""What can have become of a notification, and how much it matters."""

from django.db.models import IntegerChoices

MAX_NAME_CHARACTERS = 100
"""Of a kind."""
MAX_CATEGORY_CHARACTERS = 50


class State(IntegerChoices):
    """Each state has its time in a column of the row."""

    UNSEEN = 0
    SEEN = 1
    READ = 2
    ARCHIVED = 3
    WITHDRAWN = 4
    EXPIRED = 5
    MUTED = 6
    """The person wants none of this category in the inbox."""

    @property
    def word(self) -> str:
        """The state as clients know it."""
        return self.name.lower()


LISTED = (State.UNSEEN, State.SEEN, State.READ)
"""The states of the notifications in a person's list."""
UNREAD = (State.UNSEEN, State.SEEN)
DELETED = "deleted"
"""The word for clients of a notification that has no row any more."""


class Priority(IntegerChoices):
    LOW = 0
    NORMAL = 1
    HIGH = 2

    @property
    def word(self) -> str:
        return self.name.lower()

"""Subjects: users as django-eventstream names them, under the names that they have with us."""

from notifications.subjects import user_subject

ANONYMOUS = "anonymous"


def subject(user_id: object) -> str:
    """All who did not log in have one, which is no user's: it has no quota."""
    return ANONYMOUS if user_id == ANONYMOUS else user_subject(user_id)

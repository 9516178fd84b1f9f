"""Access rules: which users may subscribe to a topic, and which may publish to it."""

from notifications.access.base import Access, Answer
from notifications.access.rules import (
    Rule,
    Rules,
    authenticated,
    group,
    linked,
    object_permission,
    own,
    permission,
    public,
    staff,
)
from notifications.access.user_grants import agrant_for, grant_for

__all__ = [
    "Access",
    "Answer",
    "Rule",
    "Rules",
    "agrant_for",
    "authenticated",
    "grant_for",
    "group",
    "linked",
    "object_permission",
    "own",
    "permission",
    "public",
    "staff",
]

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

__all__ = [
    "Access",
    "Answer",
    "Rule",
    "Rules",
    "authenticated",
    "group",
    "linked",
    "object_permission",
    "own",
    "permission",
    "public",
    "staff",
]

"""Who may hear and who may speak."""

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

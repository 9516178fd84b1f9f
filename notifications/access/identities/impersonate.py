"""django-impersonate: when an impersonation ends by itself (`MAX_DURATION`)."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings as django_settings

STARTED = "_impersonate_start"


def end_of(session: Mapping[str, Any]) -> float | None:
    """In seconds since 1970; None where nothing limits it."""
    longest = getattr(django_settings, "IMPERSONATE", {}).get("MAX_DURATION")
    started = session.get(STARTED)
    return started + longest if longest and isinstance(started, int | float) else None

"""The life of a session: when it ends by its age, and which password it belongs to.

Django keeps the end of a session in a row, a cache or a cookie, and shows it to nobody who reads
the session. So the time of each save goes into the session, and the end follows from that.
"""

import hashlib
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.contrib.auth import HASH_SESSION_KEY

from notifications.access.identities.logins import store_class

SAVED_KEY = "_carillon_saved"
"""The key in the session: its value is when it was saved last, in whole seconds since 1970."""
_EXPIRY_KEY = "_session_expiry"


class SessionLife(NamedTuple):
    """`ends`: seconds since 1970; `auth`: a digest of the hash that a new password changes."""

    ends: float
    auth: str


def note_saved(session: Any) -> None:
    """Before a session is saved: put the time into it, and leave `modified` as it is."""
    modified = session.modified
    session[SAVED_KEY] = int(time.time())
    session.modified = modified


def life_of(data: Mapping[str, Any]) -> SessionLife | None:
    """None for a session whose end is unknown, since an earlier version saved it last."""
    saved = data.get(SAVED_KEY)
    if not isinstance(saved, int):
        return None
    end = store_class()().get_expiry_date(
        modification=datetime.fromtimestamp(saved, UTC), expiry=data.get(_EXPIRY_KEY)
    )
    return SessionLife(end.timestamp(), auth_digest(data))


def auth_digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(str(data.get(HASH_SESSION_KEY, "")).encode()).hexdigest()[:16]

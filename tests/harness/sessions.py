"""A session engine that a test can block, as a database that hangs would."""

import threading
from typing import Any

from django.contrib.sessions.backends import signed_cookies

DEADLINE_SECONDS = 60.0

gate = threading.Event()
"""Sessions are read only while the gate is set."""
readers: list[int] = []
"""The threads that have read sessions."""


class SessionStore(signed_cookies.SessionStore):
    def load(self) -> dict[str, Any]:
        readers.append(threading.get_ident())
        assert gate.wait(DEADLINE_SECONDS)
        return {}

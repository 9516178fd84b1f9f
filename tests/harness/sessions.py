"""A session engine whose reading a test can hold up, as a database that hangs does."""

import threading
from typing import Any

from django.contrib.sessions.backends import signed_cookies

DEADLINE = 20.0

gate = threading.Event()
"""While it is not set, nobody's session is read."""
readers: list[int] = []
"""The threads that sessions were read in."""


class SessionStore(signed_cookies.SessionStore):
    def load(self) -> dict[str, Any]:
        readers.append(threading.get_ident())
        assert gate.wait(DEADLINE)
        return {}

"""Whether the site sends push messages, and the key that browsers subscribe with."""

from functools import lru_cache
from importlib.util import find_spec

from notifications.conf import get_settings


def browser_key() -> str:
    """The `applicationServerKey` of the Push API; empty where the site sends no messages."""
    key = get_settings().PUSH_KEY
    return "" if key is None else _public(key)


@lru_cache(maxsize=8)
def _public(key: str) -> str:
    if find_spec("webpush") is None or find_spec("httpx") is None:  # a check reports it
        return ""
    from notifications.inbox.push.keys import application_server_key

    return application_server_key(key)

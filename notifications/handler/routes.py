"""Which requests are for a view that runs on the event loop: told from the path, before Django.

A guess that turns out wrong costs time and nothing else: whatever the request is for, Django's own
resolving decides.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import get_script_prefix
from django.urls import get_resolver
from django.utils import translation

from notifications.onloop import is_on_loop

MAX_PATH = 256
"""Longer ones are not remembered, and not worth it."""


def is_for_loop(scope: Mapping[str, Any]) -> bool:
    path = _path_info(scope["path"], get_script_prefix(scope).rstrip("/"))
    return len(path) <= MAX_PATH and _leads_to_loop(settings.ROOT_URLCONF, path)


def _path_info(path: str, prefix: str) -> str:
    """As `ASGIRequest` has it."""
    inside = prefix and (path.startswith(f"{prefix}/") or path == prefix)
    return path[len(prefix) :] if inside else path


@lru_cache(maxsize=1024)
def _leads_to_loop(urlconf: Any, path: str) -> bool:
    language = translation.get_language_from_path(path)
    with translation.override(language or translation.get_language()):
        try:
            return is_on_loop(get_resolver(urlconf).resolve(path).func)
        except Exception:  # noqa: BLE001 - Django will come across it again, and answer
            return False

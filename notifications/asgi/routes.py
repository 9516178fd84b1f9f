"""Which requests are for a view that runs on the event loop: told from the path, before Django.

A guess that turns out wrong costs time and nothing else: whatever the request is for, Django's own
resolving decides.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.conf.urls.i18n import is_language_prefix_patterns_used
from django.core.handlers.asgi import get_script_prefix
from django.urls import ResolverMatch, get_resolver
from django.utils import translation

MAX_PATH = 256
"""Longer ones are not remembered, and not worth it."""


def is_for_loop(scope: Mapping[str, Any]) -> bool:
    path = _path_info(scope["path"], get_script_prefix(scope).rstrip("/"))
    return len(path) <= MAX_PATH and _leads_to_loop(settings.ROOT_URLCONF, path)


def _path_info(path: str, prefix: str) -> str:
    """As `ASGIRequest` has it."""
    inside = prefix and (path.startswith(f"{prefix}/") or path == prefix)
    return path[len(prefix) :] if inside else path


def remembered_match(path: str) -> ResolverMatch | None:
    """What the path resolves to, where that is certain and is nothing that could be changed."""
    urlconf = settings.ROOT_URLCONF
    if len(path) > MAX_PATH or is_language_prefix_patterns_used(urlconf)[0]:
        return None
    match = _resolved(urlconf, path)
    return None if match is None or match.kwargs else match


def _leads_to_loop(urlconf: Any, path: str) -> bool:
    match = _resolved(urlconf, path)
    return match is not None and is_on_loop(match.func)


@lru_cache(maxsize=1024)
def _resolved(urlconf: Any, path: str) -> ResolverMatch | None:
    language = translation.get_language_from_path(path)
    with translation.override(language or translation.get_language()):
        try:
            return get_resolver(urlconf).resolve(path)
        except Exception:  # noqa: BLE001 - Django will come across it again, and answer
            return None


# What never blocks and says so: it runs on the event loop instead of in a thread.


_MARK = "_carillon_on_loop"


def runs_on_loop[Marked](marked: Marked) -> Marked:
    """Mark an async view, so that its requests take the cheap way in, or a middleware class.

    Of a class it promises that no hook of it blocks (no database, cache, file or network) nor
    leaves anything in its thread or on a connection. A subclass has to promise for itself.
    """
    setattr(marked, _MARK, True)
    return marked


def is_on_loop(view: object) -> bool:
    """Whether a view is marked, or whatever `functools.wraps` put around it."""
    return getattr(view, _MARK, False) is True


def is_class_on_loop(kind: type) -> bool:
    return vars(kind).get(_MARK, False) is True

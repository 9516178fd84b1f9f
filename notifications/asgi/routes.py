"""Whether a request is for a nonblocking view, judged by its path before Django sees it.

A wrong guess costs time and has no other effect: the view that runs is always the one that Django
itself resolves.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import FunctionType
from typing import Any

from django.conf import settings
from django.conf.urls.i18n import is_language_prefix_patterns_used
from django.core.handlers.asgi import get_script_prefix
from django.urls import ResolverMatch, URLResolver, get_resolver, resolvers
from django.utils import translation

from notifications.asgi.marker import is_nonblocking

MAX_CACHED_PATH = 256
"""Characters. A longer path is not resolved here and takes Django's own way."""


def leads_to_nonblocking_view(scope: Mapping[str, Any]) -> bool:
    path = path_info(scope["path"], get_script_prefix(scope).rstrip("/"))
    match = resolved(path)
    return match is not None and is_nonblocking(match.func)


def cached_match(path: str) -> ResolverMatch | None:
    """The match of a path, if it is the same for every request and holds nothing mutable.

    A path with a language prefix depends on the active language, and a match with keyword arguments
    holds a dict that a view could change. An APM agent that has patched the resolver names a
    request by what the resolver returns for it, so there every request is resolved.
    """
    is_by_language, _ = is_language_prefix_patterns_used(settings.ROOT_URLCONF)
    if is_by_language or not _is_resolver_djangos_own():
        return None
    match = resolved(path)
    return None if match is None or match.kwargs else match


def resolved(path: str) -> ResolverMatch | None:
    """The match of a path; None for a path that is long or that leads nowhere."""
    if len(path) > MAX_CACHED_PATH:
        return None
    return _resolve(settings.ROOT_URLCONF, path)


def _is_resolver_djangos_own() -> bool:
    resolve = URLResolver.resolve
    # Not `isinstance`: an agent's proxy claims to be of the type of what it wraps.
    return type(resolve) is FunctionType and resolve.__globals__ is vars(resolvers)


def path_info(path: str, prefix: str) -> str:
    """The path below the script prefix, as `ASGIRequest` computes it."""
    below = prefix and (path.startswith(f"{prefix}/") or path == prefix)
    return path[len(prefix) :] if below else path


@lru_cache(maxsize=1024)
def _resolve(urlconf: Any, path: str) -> ResolverMatch | None:
    language = translation.get_language_from_path(path)
    with translation.override(language or translation.get_language()):
        try:
            return get_resolver(urlconf).resolve(path)
        except Exception:  # noqa: BLE001 - Django meets the same error again and answers it
            return None

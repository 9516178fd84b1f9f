"""Substitution: a user whom a middleware put in place of the session's own, as impersonation does.

Only that middleware knows whether it still would. So a recheck sends a copy of the request through
the site's middleware, up to a view that only looks at `request.user`. The copy's session cannot be
saved, and the middleware of sessions is left out.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.middleware import auser as session_user
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import (
    MiddlewareNotUsed,
    ObjectDoesNotExist,
    PermissionDenied,
    SuspiciousOperation,
)
from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

type User = AbstractBaseUser | AnonymousUser
type View = Callable[[Any], HttpResponseBase]

_KEPT = ("path", "raw_path", "root_path", "query_string", "headers", "client", "server", "scheme")
_REFUSALS = PermissionDenied, Http404, SuspiciousOperation, ObjectDoesNotExist
"""What a middleware raises where it knows no such user, or lets nobody in."""
_USER = "_carillon_user"


class SessionCopy(dict[str, Any]):
    """The data of a session, with what Django's authentication does to a session.

    Nothing that happens to the copy reaches the store, so a recheck neither ends a session nor
    extends it.
    """

    session_key: str | None = None
    accessed = modified = False

    def __init__(self, data: Iterable[tuple[str, Any]] | Mapping[str, Any] = ()) -> None:
        super().__init__(data)
        self.is_flushed = False

    def flush(self) -> None:
        self.clear()
        self.is_flushed = True

    def has_key(self, key: str) -> bool:
        return key in self

    def is_empty(self) -> bool:
        return not self

    def cycle_key(self) -> None:
        """The copy has no key."""

    save = set_expiry = lambda self, *_, **__: None

    async def aget(self, key: str, default: Any = None) -> Any:
        return self.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        self[key] = value

    async def ahas_key(self, key: str) -> bool:
        return key in self

    async def apop(self, key: str, *default: Any) -> Any:
        return self.pop(key, *default)

    async def aflush(self) -> None:
        self.flush()

    async def acycle_key(self) -> None:
        """The copy has no key."""


@dataclass(frozen=True, slots=True)
class Substitution:
    """The request of the user, and the primary key of the session's own (`real`), if it has one."""

    scope: Mapping[str, Any] = field(repr=False)
    real: str | None
    was_active: bool

    @classmethod
    def of(cls, scope: Mapping[str, Any], user: User, *, real: str | None) -> "Substitution":
        kept = {name: scope[name] for name in _KEPT if name in scope}
        kept |= {"type": "http", "method": "GET", "http_version": "1.1"}
        return cls(kept, real, was_active=bool(getattr(user, "is_active", True)))

    def user_now(self, session: SessionCopy) -> User:
        """The user whom the site's middleware gives the request now, or an anonymous user.

        Raises what the middleware raises where it cannot find out.
        """
        request = ASGIRequest(dict(self.scope), BytesIO())
        request.session = session  # type: ignore[assignment]
        try:
            response = _chain(tuple(django_settings.MIDDLEWARE))(request)
        except _REFUSALS:
            return AnonymousUser()
        if response.status_code >= 500:
            raise RuntimeError(f"The middleware answered a recheck with {response.status_code}.")
        user: User = getattr(request, _USER, AnonymousUser())
        return user


def _look_at_user(request: HttpRequest) -> HttpResponse:
    """The view. With 204 no cache keeps its response."""
    auser: Any = getattr(request, "auser", None)
    if auser is None or getattr(auser, "func", None) is session_user:
        user = getattr(request, "user", AnonymousUser())
    else:
        user = async_to_sync(auser)()
    _ = user.is_authenticated  # it may be lazy
    setattr(request, _USER, user)
    return HttpResponse(status=204)


@lru_cache(maxsize=1)
def _chain(names: tuple[str, ...]) -> View:
    """The site's middleware around the view. Hooks for views (`process_view`) are not called."""
    view: View = _look_at_user
    for name in reversed(names):
        factory = import_string(name)
        if _makes_sessions(factory):
            continue
        try:
            view = _layer(factory, view)
        except MiddlewareNotUsed:
            continue
    return view


def _makes_sessions(factory: Any) -> bool:
    """Django's middleware of sessions, one that inherits from it, or another package's own."""
    return isinstance(factory, type) and (
        issubclass(factory, SessionMiddleware) or factory.__name__ == SessionMiddleware.__name__
    )


def _layer(factory: Any, view: View) -> View:
    if getattr(factory, "sync_capable", True):
        layer: View = factory(view)
        return layer
    return async_to_sync(factory(sync_to_async(view)))

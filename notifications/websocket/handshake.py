"""The handshake of a WebSocket, from which each command gets an HTTP request of its own."""

from collections.abc import Mapping
from importlib import import_module
from io import BytesIO
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse

from notifications.access.identities.base import User
from notifications.access.identities.session import active_user
from notifications.asgi.sanitize import sanitized_scope
from notifications.hub import runtime

_COPIED_KEYS = ("path", "raw_path", "root_path", "query_string", "headers", "client", "server")
_SCHEMES = {"ws": "http", "wss": "https"}


class Handshake:
    """Makes requests whose user is looked up anew each time: a connection may outlive its session.

    The session is the one that Channels' `SessionMiddleware` put into the scope. A user that
    another middleware put into the scope is accepted for as long as that user is active.
    """

    __slots__ = ("_scope", "_session_key", "_user_pk", "address")

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self._scope = sanitized_scope({name: scope[name] for name in _COPIED_KEYS if name in scope})
        self._scope |= {"type": "http", "method": "GET", "http_version": "1.1"}
        self._scope["scheme"] = _SCHEMES.get(scope.get("scheme", "ws"), "http")
        self.address = runtime.start().quotas.address(self._scope)
        """The client's IP address; None without a quota per address."""
        user, session = scope.get("user"), scope.get("session")
        self._session_key: str | None = None
        self._user_pk: str | None = None
        if user is not None and user.is_authenticated:
            self._user_pk = str(user.pk)
            if session is not None and session.get(SESSION_KEY) is not None:
                self._session_key = session.session_key

    def request(self) -> ASGIRequest:
        request = ASGIRequest(self._scope, BytesIO())
        if self._session_key is not None:
            store = import_module(django_settings.SESSION_ENGINE).SessionStore
            request.session = store(self._session_key)
            AuthenticationMiddleware(_unused_view).process_request(request)
        elif self._user_pk is not None:
            request.auser = self._user  # type: ignore[assignment]
        return request

    async def _user(self) -> User:
        return await sync_to_async(active_user)(self._user_pk or "")


def _unused_view(_: object) -> HttpResponse:
    return HttpResponse()

"""The handshake of a WebSocket, from which each command gets an HTTP request of its own."""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from io import BytesIO
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse

from notifications.access.authorization import authorize_subscribe
from notifications.access.identities.base import User
from notifications.access.identities.logins import changes, subject_of
from notifications.access.identities.session import active_user
from notifications.asgi.sanitize import sanitized_scope
from notifications.conf import namespace as namespaces
from notifications.conf.namespace import Namespace
from notifications.hub import runtime
from notifications.hub.grants import Grant

_COPIED_KEYS = ("path", "raw_path", "root_path", "query_string", "headers", "client", "server")
_SCHEMES = {"ws": "http", "wss": "https"}


class Handshake:
    """Makes requests whose user is looked up anew each time: a connection may outlive its session.

    The session is the one that Channels' `SessionMiddleware` put into the scope. A user that
    another middleware put into the scope is accepted for as long as that user is active.
    """

    __slots__ = ("_login", "_namespace", "_scope", "_session_key", "_user_pk", "address")

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self._scope = sanitized_scope({name: scope[name] for name in _COPIED_KEYS if name in scope})
        self._scope |= {"type": "http", "method": "GET", "http_version": "1.1"}
        self._scope["scheme"] = _SCHEMES.get(scope.get("scheme", "ws"), "http")
        self.address = runtime.start().quotas.address(self._scope)
        """The client's IP address; None without a quota per address."""
        user, session = scope.get("user"), scope.get("session")
        self._session_key: str | None = None
        self._login: str | None = None
        self._user_pk: str | None = None
        self._namespace: Namespace | None = None
        if namespaces.is_used() and session is not None:
            # Channels has read the session in no tenant, or in any, and the user too. So only the
            # cookie counts, and each command reads them in the tenant of the connection.
            cookies = ASGIRequest(self._scope, BytesIO()).COOKIES
            self._session_key = cookies.get(django_settings.SESSION_COOKIE_NAME)
        elif user is not None and user.is_authenticated:
            self._user_pk = str(user.pk)
            if session is not None and session.get(SESSION_KEY) is not None:
                self._session_key = session.session_key
                self._login = subject_of(session, self._session_key)

    def request(self) -> ASGIRequest:
        request = ASGIRequest(self._scope, BytesIO())
        if self._session_key is not None:
            self._session_key = changes.current_key(self._login, self._session_key)
            store = import_module(django_settings.SESSION_ENGINE).SessionStore
            request.session = store(self._session_key)
            AuthenticationMiddleware(_unused_view).process_request(request)
        elif self._user_pk is not None:
            request.auser = self._user  # type: ignore[assignment]
        return request

    async def authorize(self, topics: Sequence[str]) -> Grant:
        """As `authorize_subscribe`, in the tenant of the connection."""
        request = self.request()
        if not namespaces.is_used():
            return await authorize_subscribe(request, topics)
        if self._namespace is None:
            self._namespace = await namespaces.of_handshake(self.request())
        namespaces.assign(request, self._namespace)
        return await namespaces.run_in(
            self._namespace, partial(authorize_subscribe, request, topics)
        )

    async def _user(self) -> User:
        return await sync_to_async(active_user)(self._user_pk or "")


def _unused_view(_: object) -> HttpResponse:
    return HttpResponse()

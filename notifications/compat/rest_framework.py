"""Event streams in views of Django REST framework, with its authentication and permissions.

Import it only where the package `djangorestframework` is installed.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, QueryDict, parse_cookie
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import APIException, MethodNotAllowed
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from notifications import sse
from notifications.access.user_grants import Recheck, grant_for
from notifications.asgi.responses import STREAM_HEADERS, EventStreamResponse
from notifications.asgi.start_params import requested_start
from notifications.compat.problems import problem_of_status
from notifications.errors import CarillonError
from notifications.hub.grants import Grant
from notifications.views.events import check_streamable
from notifications.views.problems import problem

KEPT_HEADERS = ("WWW-Authenticate", "Retry-After", "Allow")


class EventStreamRenderer(BaseRenderer):  # type: ignore[misc]
    """Lets a browser's EventSource, which accepts nothing else, pass content negotiation.

    A stream is no data of the framework, so it is never rendered. What the framework itself answers
    is a problem, or JSON.
    """

    media_type = sse.CONTENT_TYPE
    format = "event-stream"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        response = renderer_context["response"]
        if not response.exception:
            response["Content-Type"] = "application/json"
            return bytes(JSONRenderer().render(data))
        headers = {name: response[name] for name in KEPT_HEADERS if name in response}
        problem_response = problem_of_status(
            renderer_context["request"], response.status_code, _text_of(data), headers
        )
        for name, value in problem_response.items():
            response[name] = value
        return problem_response.content


class EventStreamMixin:
    """For an `APIView` that returns `self.stream(topics)`; it comes before `APIView`.

    What the framework refuses (authentication, permissions, throttles) is answered with a problem
    (RFC 9457). The stream ends when the token, the user or a permission of the view does: each
    recheck authenticates the same credentials and asks the same permissions again.
    """

    http_request: HttpRequest
    """The request as Django has it; the framework wraps it in one of its own."""

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        self.http_request = request
        return super().initialize_request(request, *args, **kwargs)  # type: ignore[misc]

    def get_renderers(self) -> list[Any]:
        renderers: list[Any] = super().get_renderers()  # type: ignore[misc]
        return [*renderers, EventStreamRenderer()]

    def stream(
        self,
        *topics: str,
        until: datetime | float | None = None,
        recheck: Recheck | None = None,
        rules: bool = False,
        **options: Any,
    ) -> HttpResponseBase:
        """A stream of topics that this view allows to the user of its request.

        `until`, `recheck` and `rules` are those of `grant_for`; `recheck` is not `async`. `options`
        are those of `EventStreamResponse`; without a `start` the client's cursor decides.
        """
        check_streamable(self.http_request)
        if self.http_request.method == "HEAD":
            return HttpResponse(headers=STREAM_HEADERS)
        options.setdefault("start", requested_start(self.http_request))
        grant = self.grant(*topics, until=until, recheck=recheck, rules=rules)
        return EventStreamResponse(grant, **options)

    async def astream(self, *topics: str, **options: Any) -> HttpResponseBase:
        """As `stream`, for an `async` view of adrf."""
        return await sync_to_async(self.stream)(*topics, **options)

    def grant(
        self,
        *topics: str,
        until: datetime | float | None = None,
        recheck: Recheck | None = None,
        rules: bool = False,
    ) -> Grant:
        """The grant of `stream`, for a view that makes its own response."""
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            raise TypeError(
                "This view is async: write `return await self.astream(…)`, or for the grant alone "
                "`await sync_to_async(self.grant)(…)`."
            )
        request: Request = self.request  # type: ignore[attr-defined]
        by_session = isinstance(request.successful_authenticator, SessionAuthentication)
        return grant_for(
            request.user,
            topics,
            until=_expiry_of(request.auth) if until is None else until,
            recheck=_Recheck.of(self, request, by_session=by_session, asks_too=recheck),
            rules=rules,
            request=self.http_request if by_session else None,
        )

    def handle_exception(self, exc: Exception) -> HttpResponseBase:
        if isinstance(exc, CarillonError):
            return problem(self.http_request, exc)
        response = super().handle_exception(exc)  # type: ignore[misc]
        detail = _text_of(getattr(exc, "detail", None) or str(exc))
        headers = {name: response[name] for name in KEPT_HEADERS if name in response}
        if isinstance(exc, MethodNotAllowed):
            headers["Allow"] = ", ".join(self.allowed_methods)  # type: ignore[attr-defined]
        return problem_of_status(self.http_request, response.status_code, detail, headers)


@dataclass(frozen=True, slots=True)
class _Recheck:
    """Authenticates the credentials of a request again, and asks the permissions of its view.

    It keeps the headers, because the credentials may be in any of them, and not the request.
    Without `authenticates`, the user is that of a session, which the grant reads again, or nobody.
    """

    view: type
    match: ResolverMatch
    actions: Mapping[str, str] | None
    """What a view set calls for each method."""
    environment: Mapping[str, str]
    method: str
    path: str
    path_info: str
    authenticates: bool
    pk: object
    asks_too: Recheck | None

    @classmethod
    def of(
        cls, view: Any, request: Request, *, by_session: bool, asks_too: Recheck | None
    ) -> "_Recheck":
        http: HttpRequest = view.http_request
        assert http.resolver_match is not None
        return cls(
            view=type(view),
            match=http.resolver_match,
            actions=getattr(view, "action_map", None),
            environment={
                name: value for name, value in http.META.items() if isinstance(value, str)
            },
            method=http.method or "",
            path=http.path,
            path_info=http.path_info,
            authenticates=request.successful_authenticator is not None and not by_session,
            pk=getattr(request.user, "pk", None),
            asks_too=asks_too,
        )

    def __call__(self, user: Any) -> bool:
        args, kwargs = self.match.args, self.match.kwargs
        view: Any = self.view(**_options_of(self.match.func))
        view.args, view.kwargs, view.format_kwarg = args, kwargs, None
        view.action_map = self.actions
        view.request = request = view.initialize_request(self._http_request(), *args, **kwargs)
        try:
            version, scheme = view.determine_version(request, *args, **kwargs)
            request.version, request.versioning_scheme = version, scheme
            if not self.authenticates:
                request.user = user
            elif request.successful_authenticator is None or not self._is_same(request.user):
                return False
            view.check_permissions(request)
        except (APIException, PermissionDenied, Http404):
            return False
        return self.asks_too is None or bool(self.asks_too(request.user))

    def _is_same(self, user: Any) -> bool:
        return getattr(user, "pk", None) == self.pk and bool(getattr(user, "is_active", True))

    def _http_request(self) -> HttpRequest:
        request = HttpRequest()
        request.META, request.method = dict(self.environment), self.method
        request.path, request.path_info = self.path, self.path_info
        request.resolver_match = self.match
        request.GET = QueryDict(self.environment.get("QUERY_STRING", ""))
        request.COOKIES = parse_cookie(self.environment.get("HTTP_COOKIE", ""))
        return request


def _options_of(view: object) -> Mapping[str, Any]:
    """The arguments of `as_view`: of a class of Django or of the framework, or of a view set."""
    options = getattr(view, "view_initkwargs", None) or getattr(view, "initkwargs", None)
    return options or {}


def _text_of(detail: Any) -> str:
    """What an error says; that of simplejwt has more beside it, and a serializer's has fields."""
    if isinstance(detail, Mapping) and "detail" in detail:
        detail = detail["detail"]
    return detail if isinstance(detail, str) else JSONRenderer().render(detail).decode()


def _expiry_of(auth: object) -> datetime | float | None:
    """When the token of a request expires: knox has a time, simplejwt the claim `exp`."""
    expiry = getattr(auth, "expiry", None)
    if isinstance(expiry, datetime):
        return expiry
    payload = getattr(auth, "payload", auth)
    exp = payload.get("exp") if isinstance(payload, Mapping) else None
    return float(exp) if isinstance(exp, int | float) else None

"""A site with a middleware of every kind. Each records when it is called, and where."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import get_token
from django.template import Context, Template
from django.template.response import SimpleTemplateResponse
from django.urls import path
from django.utils.decorators import async_only_middleware, sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin
from django.views.decorators.csrf import csrf_exempt

from notifications.asgi.marker import nonblocking

trace: list[str] = []
"""What was called, in the order of the calls."""
loops: list[str] = []
"""The entries of `trace` that were called on an event loop."""


def note(call: str) -> None:
    trace.append(call)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    loops.append(call)


class Mixin(MiddlewareMixin):
    """Has every hook and only records calls. Its subclasses do something in one of the hooks."""

    def at(self, hook: str) -> HttpResponse | None:
        note(f"{type(self).__name__}.{hook}")
        return None

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        return self.at("request")

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse | None:
        return self.at("view")

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return self.at(f"exception {error!r}")

    def process_template_response(
        self, request: HttpRequest, response: SimpleTemplateResponse
    ) -> SimpleTemplateResponse:
        self.at("template")
        return response

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        answer = self.at("response")
        response.headers[f"X-{type(self).__name__}"] = "seen"
        return answer or response


def _answering(hook: str) -> type[Mixin]:
    class Answers(Mixin):
        def at(self, called: str) -> HttpResponse | None:
            super().at(called)
            return HttpResponse(f"from {hook}", status=202) if called.startswith(hook) else None

    return Answers


def _raising(hook: str, error: Exception) -> type[Mixin]:
    class Raises(Mixin):
        def at(self, called: str) -> HttpResponse | None:
            super().at(called)
            if called.startswith(hook):
                raise error
            return None

    return Raises


class AnswersRequest(_answering("request")):  # type: ignore[misc]
    pass


class AnswersView(_answering("view")):  # type: ignore[misc]
    pass


class AnswersException(_answering("exception")):  # type: ignore[misc]
    pass


class AnswersResponse(_answering("response")):  # type: ignore[misc]
    pass


class RaisesInRequest(_raising("request", ValueError("in the request"))):  # type: ignore[misc]
    pass


class RaisesInView(_raising("view", PermissionDenied("in the view"))):  # type: ignore[misc]
    pass


class RaisesInException(_raising("exception", ValueError("in turn"))):  # type: ignore[misc]
    pass


class RaisesInTemplate(_raising("template", ValueError("in the template"))):  # type: ignore[misc]
    pass


class RaisesInResponse(_raising("response", Http404("in the response"))):  # type: ignore[misc]
    pass


@nonblocking
class Nonblocking(Mixin):
    """Promises not to block."""


@nonblocking
class NonblockingAnswersRequest(AnswersRequest):
    """Promises not to block, and answers in place of everything below it."""


@nonblocking
class NonblockingAnswersView(AnswersView):
    """Promises not to block, and answers in place of the view."""


@nonblocking
class NonblockingRaisesInResponse(RaisesInResponse):
    """Promises not to block, and raises."""


class SubclassOfNonblocking(Nonblocking):
    """Promises nothing itself."""


class Common(CommonMiddleware):
    """A subclass of one of Django's middleware, which may do anything."""

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        note("Common.request")
        return super().process_request(request)


class Urlconf(Mixin):
    """Sets a URLconf in which the path leads to another view."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        request.urlconf = type("Other", (), {"urlpatterns": [path("ok", _other)]})  # type: ignore[assignment]
        return super().process_request(request)


type Next = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@async_only_middleware
def asynchronous(get_response: Next) -> Next:
    async def call(request: HttpRequest) -> HttpResponseBase:
        note("asynchronous.before")
        await sync_to_async(note)("asynchronous.thread")
        response = await get_response(request)
        note("asynchronous.after")
        return response

    return call


@async_only_middleware
def asynchronous_raising(get_response: Next) -> Next:
    async def call(request: HttpRequest) -> HttpResponseBase:
        await get_response(request)
        raise Http404

    return call


@sync_and_async_middleware
def both(get_response: Any) -> Any:
    if asyncio.iscoroutinefunction(get_response):
        return asynchronous(get_response)
    return synchronous(get_response)


def synchronous(get_response: Any) -> Any:
    def call(request: HttpRequest) -> HttpResponseBase:
        note("synchronous.before")
        response: HttpResponseBase = get_response(request)
        note("synchronous.after")
        return response

    return call


DJANGO = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
]
ASYNC = [
    *("Mixin", "AnswersRequest", "AnswersView", "AnswersException", "AnswersResponse"),
    *("RaisesInRequest", "RaisesInView", "RaisesInException", "RaisesInTemplate"),
    *("RaisesInResponse", "Nonblocking", "NonblockingAnswersRequest", "NonblockingAnswersView"),
    *("NonblockingRaisesInResponse", "SubclassOfNonblocking", "Common", "Urlconf"),
    *("asynchronous", "asynchronous_raising", "both"),
]
SYNC_ONLY = "synchronous"


def dotted(name: str) -> str:
    return name if "." in name else f"{__name__}.{name}"


# The views


class Templated(SimpleTemplateResponse):
    @property
    def rendered_content(self) -> str:
        note("rendered")
        return Template("a template").render(Context())


@nonblocking
@csrf_exempt
async def ok(request: HttpRequest) -> HttpResponse:
    note("view")
    return HttpResponse("fine", status=int(request.GET.get("status", 200)))


@nonblocking
async def guarded(request: HttpRequest) -> HttpResponse:
    note("view")
    return HttpResponse(get_token(request)[:0] + "a token")


@nonblocking
async def fails(request: HttpRequest) -> HttpResponse:
    note("view")
    raise {"404": Http404, "403": PermissionDenied}.get(request.GET.get("with", ""), ValueError)


@nonblocking
async def templated(request: HttpRequest) -> HttpResponse:
    note("view")
    return Templated("none.html")


@nonblocking
async def sets_session(request: HttpRequest) -> HttpResponse:
    note("view")
    if hasattr(request, "session"):
        await request.session.aset("seen", "yes")
    return HttpResponse("set")


@nonblocking
async def adds_message(request: HttpRequest) -> HttpResponse:
    note("view")
    messages.info(request, "a message", fail_silently=True)
    return HttpResponse("added")


@nonblocking
async def shows_messages(request: HttpRequest) -> HttpResponse:
    note("view")
    return HttpResponse(",".join(map(str, messages.get_messages(request))))


@nonblocking
async def nothing(request: HttpRequest) -> None:
    note("view")


@nonblocking
def synchronous_view(request: HttpRequest) -> HttpResponse:
    note("view")
    return HttpResponse("from a thread")


def _other(request: HttpRequest) -> HttpResponse:
    note("other")
    return HttpResponse("from elsewhere")


VIEWS: list[Any] = [
    ok,
    guarded,
    fails,
    templated,
    sets_session,
    adds_message,
    shows_messages,
    nothing,
    synchronous_view,
]
urlpatterns = [path(view.__name__, view) for view in VIEWS]

"""What a site does with its sessions, one action a URL."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth import alogout, get_user_model, login, logout, update_session_auth_hash
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin
from django.views.decorators.csrf import csrf_exempt

from notifications import recheck

BACKEND = "django.contrib.auth.backends.ModelBackend"


def _log_in(request: HttpRequest, pk: str) -> None:
    login(request, get_user_model().objects.get(pk=pk), backend=BACKEND)


def _change_password(request: HttpRequest, password: str) -> None:
    user: Any = request.user
    user.set_password(password)
    user.save()
    update_session_auth_hash(request, user)


def _act_as(request: HttpRequest, pk: str) -> None:
    request.session["acting_as"] = pk


def _stop_acting(request: HttpRequest, _: str) -> None:
    del request.session["acting_as"]
    recheck(session=request.session)


def _write(request: HttpRequest, value: str) -> None:
    request.session["cart"] = value


def _forget_user(request: HttpRequest, _: str) -> None:
    del request.session["_auth_user_id"]


ACTIONS: dict[str, Callable[[HttpRequest, str], object]] = {
    "login": _log_in,
    "logout": lambda request, _: logout(request),
    "password": _change_password,
    "cycle": lambda request, _: request.session.cycle_key(),
    "flush": lambda request, _: request.session.flush(),
    "delete": lambda request, _: request.session.delete(),
    "clear": lambda request, _: request.session.clear(),
    "forget-user": _forget_user,
    "write": _write,
    "act-as": _act_as,
    "stop-acting": _stop_acting,
}


@csrf_exempt
def change(request: HttpRequest, action: str, value: str = "") -> HttpResponse:
    ACTIONS[action](request, value)
    return HttpResponse(status=204)


@csrf_exempt
async def log_out(request: HttpRequest) -> HttpResponse:
    await alogout(request)
    return HttpResponse(status=204)


class ActAs(MiddlewareMixin):
    """Staff act as the user whom their session names."""

    def process_request(self, request: HttpRequest) -> None:
        pk = request.session.get("acting_as")
        if pk is not None and request.user.is_staff:
            request.user = get_user_model().objects.get(pk=pk)


@sync_and_async_middleware
def trusted_header(get_response: Callable[[HttpRequest], Any]) -> Any:
    """The user of `X-User`, without any session."""

    def identify(request: HttpRequest) -> None:
        if pk := request.META.get("HTTP_X_USER"):
            user = get_user_model().objects.filter(pk=pk, is_active=True).first()
            request.user = user or AnonymousUser()

    async def in_loop(request: HttpRequest) -> HttpResponseBase:
        await sync_to_async(identify)(request)
        response: HttpResponseBase = await get_response(request)
        return response

    def in_thread(request: HttpRequest) -> HttpResponseBase:
        identify(request)
        response: HttpResponseBase = get_response(request)
        return response

    return in_loop if iscoroutinefunction(get_response) else in_thread

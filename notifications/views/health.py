"""Health, for balancers and operators: the process, its streams, and its publishing."""

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from notifications import runtime
from notifications.errors import NotReady
from notifications.views.problems import tells_problems

READY_TIMEOUT = 1.0


@tells_problems
async def live(request: HttpRequest) -> HttpResponseBase:
    """The process answers."""
    return _well("live")


@tells_problems
async def ready(request: HttpRequest) -> HttpResponseBase:
    """New streams are served here. Redis does not matter once the window has been loaded.

    If it did, a balancer would end every browser's stream during an outage.
    """
    if not await runtime.start().wait_ready(timeout=READY_TIMEOUT):
        raise NotReady("The window of the log has not been loaded, or this process is stopping.")
    return _well("ready")


@tells_problems
async def publish(request: HttpRequest) -> HttpResponseBase:
    """Redis has just taken a canary and given it back."""
    await runtime.start().log.ping()
    return _well("publish")


def _well(status: str) -> JsonResponse:
    return JsonResponse({"status": status}, headers={"Cache-Control": "no-store"})

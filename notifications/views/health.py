"""Health, for balancers and operators: the process, its streams, its publishing, its outbox."""

from dataclasses import asdict

from asgiref.sync import sync_to_async
from django.db import Error as DatabaseError
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from notifications.conf import get_settings
from notifications.errors import NotReady, OutboxLate
from notifications.hub import runtime
from notifications.publishing.outbox import Backlog, backlog
from notifications.views.problems import tells_problems

READY_TIMEOUT = 1.0
LATE = 60
"""Seconds."""
NEVER_KEPT = {"Cache-Control": "no-store"}


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


@tells_problems
async def outbox(request: HttpRequest) -> HttpResponseBase:
    """What waits in each outbox. 503 where it has waited for too long, for whatever reason."""
    try:
        found = await sync_to_async(_backlogs)()
    except DatabaseError as error:
        raise OutboxLate(f"The database cannot be asked: {error}") from None
    said = {using: asdict(each) for using, each in found.items()}
    if late := [using for using, each in found.items() if each.age > LATE]:
        raise OutboxLate(
            f"Events have waited for more than {LATE} seconds in the outbox of {', '.join(late)}.",
            databases=said,
        )
    return JsonResponse({"status": "outbox", "databases": said}, headers=NEVER_KEPT)


def _backlogs() -> dict[str, Backlog]:
    return {using: backlog(using) for using in get_settings().OUTBOX_DATABASES}


def _well(status: str) -> JsonResponse:
    return JsonResponse({"status": status}, headers=NEVER_KEPT)

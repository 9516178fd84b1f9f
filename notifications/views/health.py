"""Health checks for load balancers and operators: process, streams, publishing and outbox."""

from dataclasses import asdict
from functools import wraps

from asgiref.sync import sync_to_async
from django.db import Error as DatabaseError
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from notifications.access.tables import TableLook, explain_missing
from notifications.asgi.marker import probe
from notifications.conf import get_settings
from notifications.errors import NotReady, OutboxLate
from notifications.hub import runtime
from notifications.publishing.outbox import Backlog, backlog
from notifications.views.problems import AsyncView, check_method, problem_responses

PROBE_TIMEOUT_SECONDS = 1.0
LATE_SECONDS = 60
NO_STORE = {"Cache-Control": "no-store"}

_tables = TableLook()


def _health_check(view: AsyncView) -> AsyncView:
    @wraps(view)
    async def checked(request: HttpRequest) -> HttpResponseBase:
        check_method(request, "GET", "HEAD", detail="Health is read by a GET.")
        return await view(request)

    return probe(problem_responses(checked))


@_health_check
async def live(request: HttpRequest) -> HttpResponseBase:
    """This process answers."""
    return _healthy("live")


@_health_check
async def ready(request: HttpRequest) -> HttpResponseBase:
    """This process accepts new streams. Redis does not matter once the window has been loaded.

    If it did matter, a load balancer would end every browser's stream during an outage of Redis.
    So the tables matter only until they have been there once.
    """
    if not await runtime.start().wait_ready(timeout=PROBE_TIMEOUT_SECONDS):
        raise NotReady("The window of the log has not been loaded, or this process is stopping.")
    if missing := await _tables.missing(timeout=PROBE_TIMEOUT_SECONDS):
        raise NotReady(explain_missing(missing))
    return _healthy("ready")


@_health_check
async def publish(request: HttpRequest) -> HttpResponseBase:
    """Redis has just stored a canary value and returned it."""
    await runtime.start().log.ping()
    return _healthy("publish")


@_health_check
async def outbox(request: HttpRequest) -> HttpResponseBase:
    """The backlog of each outbox: 503 if an event has waited for too long, whatever the reason."""
    try:
        backlogs = await sync_to_async(_backlogs)()
    except DatabaseError as error:
        raise OutboxLate(f"The database cannot be queried: {error}") from None
    databases = {using: asdict(item) for using, item in backlogs.items()}
    if late := [using for using, item in backlogs.items() if item.age > LATE_SECONDS]:
        raise OutboxLate(
            f"Events have waited for more than {LATE_SECONDS} seconds in the outbox of "
            f"{', '.join(late)}.",
            databases=databases,
        )
    return JsonResponse({"status": "outbox", "databases": databases}, headers=NO_STORE)


def _backlogs() -> dict[str, Backlog]:
    return {using: backlog(using) for using in get_settings().OUTBOX_DATABASES}


def _healthy(status: str) -> JsonResponse:
    return JsonResponse({"status": status}, headers=NO_STORE)

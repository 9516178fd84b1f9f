"""`GET /metrics`: how the service is, for Prometheus, and for nobody who has no key."""

import asyncio
import hmac
from contextlib import suppress

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from notifications.conf import get_settings
from notifications.errors import Forbidden, MethodNotAllowed, NotInstalled, Unauthenticated
from notifications.hub import metrics_exporter, runtime
from notifications.publishing.outbox import backlog
from notifications.views.problems import tells_problems

METHODS = ("GET", "HEAD")
PATIENCE = 2.0


@tells_problems
async def metrics(request: HttpRequest) -> HttpResponseBase:
    """Whichever process answers does so for all that `carillon serve` started."""
    if request.method not in METHODS:
        raise MethodNotAllowed("Metrics are read by a GET.", allowed=METHODS)
    _check(request)
    if not metrics_exporter.is_possible():
        raise NotInstalled("There is no prometheus-client: pip install 'django-carillon[metrics]'.")
    from notifications.telemetry.metrics import count, exposition

    here = runtime.here()
    if here is None:
        count()
    else:
        here.export()
    await _look_at_outboxes()
    accept = request.headers.get("Accept", "")
    text, content_type = await asyncio.to_thread(exposition, accept)
    return HttpResponse(text, content_type=content_type, headers={"Cache-Control": "no-store"})


async def _look_at_outboxes() -> None:
    """A database that cannot tell must not keep the rest from being told."""
    from notifications.telemetry.metrics import OUTBOX_AGE, OUTBOX_EVENTS

    for using in get_settings().OUTBOX_DATABASES:
        waiting = age = float("nan")
        with suppress(DatabaseError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                found = await sync_to_async(backlog)(using)
            waiting, age = found.waiting, found.age
        OUTBOX_EVENTS.labels(using).set(waiting)
        OUTBOX_AGE.labels(using).set(age)


def _check(request: HttpRequest) -> None:
    keys = get_settings().METRICS_KEYS
    if not keys:
        if django_settings.DEBUG:
            return
        raise Forbidden("Nobody may read this: there is no key for it in CARILLON['METRICS_KEYS'].")
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    shown = given.strip().encode(errors="surrogatepass")
    # Every key is compared, so that time tells nothing about which one came close.
    matches = [hmac.compare_digest(shown, key.encode()) for key in keys]
    if scheme.lower() != "bearer" or not any(matches):
        raise Unauthenticated("Show one of the keys for metrics: 'Authorization: Bearer <key>'.")

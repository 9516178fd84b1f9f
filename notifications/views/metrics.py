"""`GET /metrics`: the metrics for Prometheus, protected by keys of their own."""

import asyncio
import hmac
from contextlib import suppress

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from notifications.access.identities.headers import KEY_HEADER, bearer_texts
from notifications.asgi.marker import probe
from notifications.conf import get_settings
from notifications.errors import Forbidden, NotInstalled, Unauthenticated
from notifications.hub import metrics_exporter, runtime
from notifications.publishing.outbox import backlog
from notifications.views.problems import check_method, problem_responses

DATABASE_TIMEOUT_SECONDS = 2.0


@probe
@problem_responses
async def metrics(request: HttpRequest) -> HttpResponseBase:
    """The metrics of all processes that `carillon serve` started, whichever of them answers."""
    check_method(request, "GET", "HEAD", detail="Metrics are read by a GET.")
    _check_key(request)
    if not metrics_exporter.is_available():
        raise NotInstalled("There is no prometheus-client: pip install 'django-carillon[metrics]'.")
    # Imported only here, because it needs prometheus-client.
    from notifications.telemetry.exposition import exposition
    from notifications.telemetry.metrics import export_counters

    running = runtime.current()
    if running is None:
        export_counters()
    else:
        running.export()
    await _measure_outboxes()
    accept = request.headers.get("Accept", "")
    text, content_type = await asyncio.to_thread(exposition, accept)
    return HttpResponse(text, content_type=content_type, headers={"Cache-Control": "no-store"})


async def _measure_outboxes() -> None:
    """Set the gauges of each outbox: NaN if its database does not answer in time."""
    from notifications.telemetry.metrics import OUTBOX_AGE, OUTBOX_EVENTS

    for using in get_settings().OUTBOX_DATABASES:
        waiting = age = float("nan")
        with suppress(DatabaseError, TimeoutError):
            async with asyncio.timeout(DATABASE_TIMEOUT_SECONDS):
                measured = await sync_to_async(backlog)(using)
            waiting, age = measured.waiting, measured.age
        OUTBOX_EVENTS.labels(using).set(waiting)
        OUTBOX_AGE.labels(using).set(age)


def _check_key(request: HttpRequest) -> None:
    keys = get_settings().METRICS_KEYS
    if not keys:
        if django_settings.DEBUG:
            return
        raise Forbidden("Metrics are disabled: there is no key in CARILLON['METRICS_KEYS'].")
    shown = [text.encode(errors="surrogatepass") for text in bearer_texts(request)]
    # Every key is compared, so that the time taken reveals nothing about which one came close.
    matches = [hmac.compare_digest(text, key.encode()) for text in shown for key in keys]
    if not any(matches):
        raise Unauthenticated(
            "Send one of the metrics keys: 'Authorization: Bearer <key>', or "
            f"'{KEY_HEADER}: <key>'."
        )

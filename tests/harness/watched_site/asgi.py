"""The ASGI application of the site, by the documented lines.

`/watched` tells what the watcher has collected, and what the process does. A request with the
header `outside` comes to the application by the watcher's middleware, put around it in the usual
way.
"""

import asyncio
import gc
import json
import os
import socket
import sys
from collections import Counter
from functools import partial
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.harness.watched_site.settings")

contacted: list[str] = []
"""Addresses outside of this machine that somebody tried to connect to."""


def refuse_outside(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and arguments[0].family != socket.AF_UNIX:
        if arguments[0].type == socket.SOCK_DGRAM:  # New Relic asks for its own address so
            return
        host = str(arguments[1][0])
        if host not in ("127.0.0.1", "::1", "localhost"):
            contacted.append(host)
            raise PermissionError(f"{host} is outside of this machine.")
    elif event == "socket.getaddrinfo" and arguments[0] not in (
        *("127.0.0.1", "::1", "localhost", b"localhost", None, socket.gethostname()),
    ):
        contacted.append(str(arguments[0]))
        raise PermissionError(f"{arguments[0]} is outside of this machine.")


sys.addaudithook(refuse_outside)

from notifications.asgi import get_asgi_application  # noqa: E402
from notifications.hub import runtime  # noqa: E402
from notifications.transport.base import Receive, Send  # noqa: E402
from tests.harness.transport_site import send_json, wrapped  # noqa: E402
from tests.harness.watched_site import WATCHER, run_documented  # noqa: E402

spans: list[str] = []
"""The spans, transactions and errors that the watcher has finished, in this process."""
ASGI_OF = {
    "opentelemetry": "asgi.py (OpenTelemetry)",
    "opentelemetry-asgi": "asgi.py (OpenTelemetry's ASGI middleware)",
    "elastic": "asgi.py (Elastic APM's ASGI middleware)",
    "ddtrace": "asgi.py (Datadog)",
}


def collect_opentelemetry() -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

    class Collector(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            links = sum(1 for _ in span.links)
            spans.append(f"{span.kind.name} {span.name} {links}" if links else span.name)

    provider = TracerProvider()
    provider.add_span_processor(Collector())
    trace.set_tracer_provider(provider)


def collect_ddtrace() -> None:
    from ddtrace.trace import TraceFilter, tracer

    class Collector(TraceFilter):
        def process_trace(self, trace: list[Any]) -> list[Any] | None:
            spans.extend(f"{span.name} {span.resource}" for span in trace)
            return None

    tracer.configure(trace_processors=[Collector()])


def collect_new_relic() -> None:
    from newrelic.core.application import Application  # type: ignore[import-untyped]

    record = Application.record_transaction

    def record_transaction(self: Any, data: Any) -> Any:
        spans.append(data.path)
        return record(self, data)

    Application.record_transaction = record_transaction


def middleware_of_watcher() -> Any:
    """What wraps an ASGI application in the watcher's own documentation."""
    if WATCHER.startswith("opentelemetry"):
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

        return partial(OpenTelemetryMiddleware, exclude_spans=["receive", "send"])
    if WATCHER.startswith("sentry"):
        from sentry_sdk.integrations.asgi import SentryAsgiMiddleware

        return SentryAsgiMiddleware
    if WATCHER == "elastic":
        from elasticapm.contrib.asgi import ASGITracingMiddleware

        return ASGITracingMiddleware
    if WATCHER == "ddtrace":
        from ddtrace.contrib.asgi import TraceMiddleware

        return TraceMiddleware
    if WATCHER == "newrelic":
        from newrelic.agent import ASGIApplicationWrapper  # type: ignore[import-untyped]

        return ASGIApplicationWrapper
    return lambda inner: inner


if WATCHER.startswith("opentelemetry"):
    collect_opentelemetry()
elif WATCHER == "ddtrace":
    collect_ddtrace()
elif WATCHER == "newrelic":
    collect_new_relic()
names: dict[str, Any] = {}
if WATCHER in ASGI_OF:
    run_documented(ASGI_OF[WATCHER], names)
    site = names["application"]
else:
    site = get_asgi_application()
outside = middleware_of_watcher()(site)
gc.collect()
gc.freeze()  # each report collects the garbage, and need not look at what is imported


def report() -> dict[str, Any]:
    from tests.harness.watched_site import views

    gc.collect()
    tasks = asyncio.all_tasks()
    current = asyncio.current_task()
    running = runtime.start()
    streams = running.hub.subscribers if running.ready else []
    return {
        "ready": running.ready,
        "spans": Counter(spans),
        "transports": Counter(type(stream.transport).__name__ for stream in streams),
        "contacted": contacted,
        "leaks": views.leaks,
        "marks": len(views.marks),
        "marked tasks": [
            repr(task.get_coro())
            for task in tasks
            if task is not current and task.get_context().get(views.mark) is not None
        ],
    }


async def application(scope: Any, receive: Receive, send: Send) -> None:
    if scope.get("path") == "/watched":
        await send_json(send, json.dumps(report()).encode())
        return
    for name, value in scope.get("headers", ()):
        if name == b"outside":
            chosen = {b"watcher": outside, b"unknown": lambda s, r, w: site(s, r, wrapped(w))}
            await chosen[value](scope, receive, send)
            return
    await site(scope, receive, send)

"""What error trackers and APM agents put around a server's `send`.

A direct transport writes past `send`. That is right only if `send` is the server's own, or if
nothing around it looks at the body of a response. The wrappers below are known to pass bodies on as
they are. Each is recognised by its code, because `functools.wraps` gives a wrapper the name and the
module of what it wraps. Their internals are undocumented: `docs/extend.md` lists them.
"""

from collections.abc import Callable
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from notifications.transport.base import Send

MAX_WRAPPERS = 8
EVENT_STREAM_HEADERS = ((b"content-type", b"text/event-stream"),)
SERVER_PACKAGES = frozenset({"uvicorn", "daphne", "hypercorn", "granian", "gunicorn"})


def unwrap(send: Send) -> Send:
    """The `send` inside of all known wrappers, such as the server's own.

    An unknown wrapper is returned as it is, and so is a known one of another version.
    """
    for _ in range(MAX_WRAPPERS):
        find_inner = WRAPPERS.get(name_of(send))
        try:
            inner = find_inner(send) if find_inner else None
        except (AttributeError, KeyError, TypeError, ValueError):
            return send
        if not callable(inner):
            break
        send = inner
    return send


def name_of(send: Any) -> str:
    """The module and the qualified name of the code that runs when `send` is called."""
    # Types are compared because a proxy of wrapt's claims to be of the type of what it wraps.
    while type(send) is partial:
        send = send.func
    function = send.__func__ if type(send) is MethodType else send
    if type(function) is FunctionType:
        return f"{function.__globals__.get('__name__')}:{function.__code__.co_qualname}"
    return f"{type(send).__module__}:{type(send).__qualname__}"


def is_servers_own(send: Any) -> bool:
    """Whether `send` belongs to an ASGI server, whether or not there is a transport for it."""
    while type(send) is partial:
        send = send.func
    if type(send) is BuiltinFunctionType:  # compiled, as granian's
        return True
    return name_of(send).split(":")[0].split(".")[0].lstrip("_") in SERVER_PACKAGES


def _variable(send: Any, name: str) -> Any:
    """A variable of the function around `send`."""
    return send.__closure__[send.__code__.co_freevars.index(name)].cell_contents


def _in_sentry(send: Any) -> Any:
    return _variable(send, "send")


def _in_opentelemetry(send: Any) -> Any:
    # A hook of the application's may read the body.
    middleware = _variable(send, "self")
    return None if middleware.client_response_hook is not None else _variable(send, "send")


def _in_elastic_apm(send: Any) -> Any:
    return _variable(send, "send")


def _in_ddtrace(send: Any) -> Any:
    # Datadog's protection of applications inspects bodies.
    core = send.__globals__["core"]
    return None if core.has_listeners("asgi.finalize_response") else _variable(send, "send")


def _in_new_relic(send: MethodType) -> Any:
    return send.__self__._send  # type: ignore[attr-defined]  # noqa: SLF001


def _in_new_relic_browser(send: MethodType) -> Any:
    # It inserts a script into HTML. It decides by the head, and this may be asked before that.
    middleware: Any = send.__self__
    inserts = not middleware.pass_through and middleware.should_insert_html(EVENT_STREAM_HEADERS)
    return None if inserts else middleware.send


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "sentry_sdk.integrations.asgi:SentryAsgiMiddleware._run_app"
    ".<locals>._sentry_wrapped_send": _in_sentry,
    "opentelemetry.instrumentation.asgi:OpenTelemetryMiddleware._get_otel_send"
    ".<locals>.otel_send": _in_opentelemetry,
    "elasticapm.contrib.asgi:wrap_send.<locals>.wrapped_send": _in_elastic_apm,
    "ddtrace.contrib.internal.asgi.middleware:TraceMiddleware.__call__"
    ".<locals>.wrapped_send": _in_ddtrace,
    "newrelic.api.asgi_application:ASGIWebTransaction.send": _in_new_relic,
    "newrelic.api.asgi_application:ASGIBrowserMiddleware"
    ".send_inject_browser_agent": _in_new_relic_browser,
}
"""Where each known wrapper has the `send` that it calls; None if it may look at bodies."""

"""The ASGI application: it hands streams off, and has a fast path for views that never block."""

import asyncio
import logging
from contextlib import closing
from contextvars import copy_context
from io import BytesIO
from typing import IO, Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.cache import close_caches
from django.core.exceptions import RequestAborted, TooManyFieldsSent
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import reset_urlconf
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries
from django.dispatch import Signal
from django.http import JsonResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from notifications.asgi import iteration, middleware
from notifications.asgi.blocking import blocking_profile
from notifications.asgi.handoff import DisconnectWatch, Handoff, current_handoff, run_stream
from notifications.asgi.request_thread import in_request_thread
from notifications.asgi.responses import EventStreamResponse
from notifications.asgi.routes import cached_match, leads_to_nonblocking_view
from notifications.asgi.sanitize import sanitized_scope
from notifications.asgi.server_warnings import ServerWarnings
from notifications.asgi.threads import ThreadPool
from notifications.errors import BadRequest
from notifications.hub import runtime
from notifications.hub.stream import EventStream
from notifications.transport.base import Message, Receive, Send

logger = logging.getLogger("carillon")


class CarillonASGIHandler(ASGIHandler):
    """Django's handler with two differences.

    The stream of an `EventStreamResponse` is handed off, whatever view returns it. And requests for
    a `nonblocking` view take the fast path: the same middleware, signals and exceptions, without a
    thread for each request.

    It overrides methods of Django's handlers that are undocumented: `docs/extend.md` lists them.
    """

    def __init__(self, *, thread_pool: ThreadPool | None = None) -> None:
        self._thread_pool = thread_pool or ThreadPool()
        self._server_warnings = ServerWarnings()
        self._reported: set[type] = set()
        self._all_async = True
        """Whether no middleware is only synchronous."""
        self._all_profiled = True
        """Whether every middleware has a `BlockingProfile`."""
        super().__init__()  # builds the middleware chain, by `adapt_method_mode` below

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        stream = await self._handle_request(scope, receive, send)
        if stream is not None:
            stream.set_client(scope)
            await run_stream(stream, receive, send, self._server_warnings)

    async def _handle_request(self, scope: Any, receive: Receive, send: Send) -> EventStream | None:
        """Let Django handle the request. Returns its stream, which is to run now, if it has one.

        In a task, so that the context variables that are set meanwhile end with the request. And
        Django raises and catches exceptions whose tracebacks, in cycles, hold every frame below
        them until the garbage collector comes: in this task, those of the request only.
        """
        handoff, watch = Handoff(send, scope), DisconnectWatch(receive)
        context = copy_context()
        context.run(current_handoff.set, handoff)
        if scope["type"] == "http" and self._all_async and leads_to_nonblocking_view(scope):
            request, is_fast = self._respond_fast(scope, receive, handoff), True
        else:
            request, is_fast = super().__call__(scope, watch, handoff), False
        loop = asyncio.get_running_loop()
        try:
            await asyncio.Task(request, loop=loop, context=context, eager_start=is_fast)
        finally:
            watch.release()
            stream = handoff.release()
        return None if watch.disconnected else stream

    # For every request

    def create_request(self, scope: Any, body_file: IO[bytes]) -> Any:
        try:
            return super().create_request(sanitized_scope(scope), body_file)
        except TooManyFieldsSent as error:
            # Django reads the query here if the content type has a charset, and does not catch it.
            return None, _bad_request(BadRequest(f"The request cannot be read: {error}"))

    async def send_response(self, response: HttpResponseBase, send: Any) -> None:
        # Not by the type of `send`: error trackers give Django a `send` of their own.
        handoff = current_handoff.get()
        if handoff is None or not response.streaming:
            await super().send_response(response, send)
        elif isinstance(response, EventStreamResponse) and handoff.take(response):
            await send(_start_message(response))
        else:
            if isinstance(response, EventStreamResponse):
                self._report_wrapped(response)
                response.stream.set_client(handoff.scope)
            with handoff.backpressure():
                await super().send_response(response, send)

    def _report_wrapped(self, response: EventStreamResponse) -> None:
        """Log once for each type of response that its streams cannot be handed off."""
        if type(response) not in self._reported:
            self._reported.add(type(response))
            logger.warning(
                "handoff.refused: a middleware wraps the iterator of streaming responses, so each "
                "stream keeps its request, and may keep a thread (carillon.W023). Let it pass "
                "those of type %s.",
                response.headers["Content-Type"],
            )

    # The fast path

    def adapt_method_mode(
        self,
        is_async: bool,
        method: Any,
        method_is_async: bool | None = None,
        debug: bool = False,
        name: str | None = None,
    ) -> Any:
        """Django calls this for each layer and each hook while it builds the middleware chain."""
        adapted = super().adapt_method_mode(is_async, method, method_is_async, debug, name)
        if not is_async:
            return adapted
        if method_is_async is None:
            return middleware.fast_path_hook(method, adapted)
        # Above a middleware that is only synchronous, everything below it runs in one thread.
        self._all_async &= method_is_async
        layer = middleware.wrapped_middleware(method)
        # The innermost layer is a method of this handler, which calls the view.
        if getattr(layer, "__self__", None) is not self:
            self._all_profiled &= blocking_profile(layer) is not None
        return middleware.fast_path_layer(method, adapted)

    def resolve_request(self, request: Any) -> Any:
        if middleware.is_on_fast_path(request) and not hasattr(request, "urlconf"):
            match = cached_match(request.path_info)
            if match is not None:
                request.resolver_match = match
                return match
        return super().resolve_request(request)

    async def _respond_fast(self, scope: Any, receive: Receive, send: Handoff) -> None:
        """`ASGIHandler.handle`, except that nothing awaits a disconnect before the response.

        A stream awaits the disconnect itself once it is handed off, and a publication that has
        arrived should be finished even if its client has left.
        """
        keep_thread = not self._all_profiled
        with in_request_thread(self._thread_pool, keep_thread=keep_thread) as thread:
            try:
                body = await self._read_body(receive)
            except RequestAborted:
                return
            with closing(body):
                set_script_prefix(get_script_prefix(scope))
                await send_request_started(type(self), scope)
                request, error_response = self.create_request(scope, body)
                if request is None:
                    response: Any = error_response
                else:
                    middleware.put_on_fast_path(request)
                    response = await self.run_get_response(request)
                try:
                    sending = self.send_response(response, send)
                    await iteration.send_response(response, sending, receive, thread)
                finally:
                    await finish_request(type(self), response)
                    if request is not None:
                        middleware.drop_unused_attributes(request)

    async def _read_body(self, receive: Receive) -> IO[bytes]:
        """`read_body`, without its temporary file if the body is small and comes in one message."""
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestAborted
        body = message.get("body", b"")
        if not message.get("more_body") and len(body) <= settings.FILE_UPLOAD_MAX_MEMORY_SIZE:
            return BytesIO(body)

        first = iter([message])

        async def receive_from_first() -> Message:
            return next(first, None) or await receive()

        file: IO[bytes] = await self.read_body(receive_from_first)
        return file


def _bad_request(error: BadRequest) -> JsonResponse:
    """A problem (RFC 9457) for a request that cannot even be created."""
    body = {
        "type": f"urn:carillon:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    return JsonResponse(body, status=error.status, content_type="application/problem+json")


def _start_message(response: HttpResponseBase) -> Message:
    """The status and the headers, as Django sends them."""
    headers = [(name.encode("ascii"), text.encode("latin1")) for name, text in response.items()]
    for cookie in response.cookies.values():
        headers.append((b"Set-Cookie", cookie.OutputString().encode("ascii")))  # noqa: PERF401
    return {"type": "http.response.start", "status": response.status_code, "headers": headers}


async def _lifespan(receive: Receive, send: Send) -> None:
    """Start and stop the runtime with the server, if the server supports ASGI's lifespan."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            runtime.start()
            await send({"type": "lifespan.startup.complete"})
        else:
            await runtime.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


# The signals of a request on the fast path. Django sends them in a thread. Its own receivers clean
# up what belongs to a thread: our pool does that for its threads, and the event loop's thread has
# nothing of the kind. So a signal is sent only if somebody else receives it.

DJANGO_RECEIVERS = frozenset({reset_queries, close_old_connections, close_caches, reset_urlconf})

_receivers: dict[tuple[Signal, type], tuple[list[Any], bool]] = {}
"""For each signal and sender: the receivers at the last look, and whether any is not Django's."""


async def send_request_started(sender: type, scope: object) -> None:
    if _has_other_receivers(request_started, sender):
        await request_started.asend(sender=sender, scope=scope)


async def finish_request(sender: type, response: HttpResponseBase) -> None:
    """Close the response, which sends `request_finished`."""
    # `close` calls these functions, and no public attribute lists them. One of them is Django's
    # own, and closes the request.
    closers = response._resource_closers  # type: ignore[attr-defined]  # noqa: SLF001
    may_block = len(closers) > 1 or type(response).close is not HttpResponseBase.close
    if may_block or _has_other_receivers(request_finished, sender):
        await sync_to_async(response.close)()
    else:  # everything that `close` does except for the signal
        for closer in closers:
            closer()
        closers.clear()
        response.closed = True


def _has_other_receivers(signal: Signal, sender: type) -> bool:
    receivers, has_others = _receivers.get((signal, sender), (None, True))
    if signal.receivers != receivers:
        receivers = list(signal.receivers)
        # The public `Signal.has_listeners` does not tell Django's receivers from others.
        synchronous, asynchronous = signal._live_receivers(sender)  # noqa: SLF001
        has_others = bool(asynchronous) or not DJANGO_RECEIVERS.issuperset(synchronous)
        _receivers[signal, sender] = receivers, has_others
    return has_others

"""The ASGI application: it hands streams off, and has a fast path for views that never block."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from contextvars import copy_context
from typing import IO, Any

from django.core.exceptions import RequestAborted, TooManyFieldsSent
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.exception import convert_exception_to_response
from django.http import JsonResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from notifications.asgi import bodies, iteration, middleware
from notifications.asgi.blocking import blocking_profile
from notifications.asgi.disconnect import DisconnectWatch
from notifications.asgi.handoff import Handoff, current_handoff
from notifications.asgi.opening import run_stream
from notifications.asgi.probes import ProbeMiddleware
from notifications.asgi.request_thread import RequestThread
from notifications.asgi.responses import EventStreamResponse, start_message
from notifications.asgi.routes import cached_match, leads_to_nonblocking_view
from notifications.asgi.sanitize import sanitized_scope
from notifications.asgi.server_warnings import ServerWarnings
from notifications.asgi.signals import finish_request, send_request_started
from notifications.asgi.stop_signals import ending_streams_at_stop, wait_for_drain
from notifications.asgi.threads import ThreadPool
from notifications.errors import BadRequest, CarillonError
from notifications.hub import runtime
from notifications.hub.stream import EventStream
from notifications.hub.subscribers import CloseReason
from notifications.telemetry.logs import logger
from notifications.transport.base import Receive, Send
from notifications.transport.detach import ServerConnection

type Application = Callable[[Any, Receive, Send], Coroutine[Any, Any, None]]
type AsgiMiddleware = Callable[[Any], Any]
"""Takes an ASGI application, and returns one that calls it."""


class CarillonASGIHandler(ASGIHandler):
    """Django's handler with two differences.

    The stream of an `EventStreamResponse` is handed off, whatever view returns it. And requests for
    a `nonblocking` view take the fast path: the same middleware, signals and exceptions, without a
    thread for each request.

    It overrides methods of Django's handlers that are undocumented: `docs/extend.md` lists them.
    """

    def __init__(
        self,
        *,
        request_middleware: Sequence[AsgiMiddleware] = (),
        thread_pool: ThreadPool | None = None,
    ) -> None:
        self._thread_pool = thread_pool or ThreadPool()
        self._server_warnings = ServerWarnings()
        self._reported: set[type] = set()
        self._all_async = True
        """Whether no middleware is only synchronous."""
        self._all_profiled = True
        """Whether every middleware has a `BlockingProfile`."""
        super().__init__()  # builds the middleware chain, by `adapt_method_mode` below
        self._application: Application = self._call_django
        for wrap in reversed(request_middleware):
            self._application = wrap(self._application)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            with ending_streams_at_stop(scope):
                await _lifespan(receive, send)
            return
        stream, connection = await self._handle_request(scope, receive, send)
        if stream is not None:
            stream.set_client(scope)
            is_head = scope["method"] == "HEAD"
            warnings = self._server_warnings
            await run_stream(stream, connection, receive, send, warnings, is_head=is_head)

    async def _handle_request(
        self, scope: Any, receive: Receive, send: Send
    ) -> tuple[EventStream | None, ServerConnection | None]:
        """Let Django handle the request. Returns what `Handoff.release` returns.

        In a task, so that the context variables that are set meanwhile end with the request. And
        Django raises and catches exceptions whose tracebacks, in cycles, hold every frame below
        them until the garbage collector comes: in this task, those of the request only.
        """
        is_fast = scope["type"] == "http" and self._all_async and leads_to_nonblocking_view(scope)
        handoff, watch = Handoff(send, scope, is_fast=is_fast), DisconnectWatch(receive)
        context = copy_context()
        context.run(current_handoff.set, handoff)
        request = self._application(scope, watch, handoff)
        loop = asyncio.get_running_loop()
        try:
            await asyncio.Task(request, loop=loop, context=context, eager_start=is_fast)
        finally:
            watch.release()
            stream, connection = handoff.release()
        return (None, None) if watch.disconnected else (stream, connection)

    # For every request

    async def _call_django(self, scope: Any, receive: Any, send: Any) -> None:
        # Error trackers patch `ASGIHandler.__call__`, to give each request a scope of its own.
        await super().__call__(scope, receive, send)

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Django's `__call__` calls this, from within whatever an error tracker put around it."""
        handoff = current_handoff.get()
        if handoff is not None and handoff.is_fast:
            await self._respond_fast(scope, receive, send)
        else:
            await super().handle(scope, receive, send)

    def create_request(self, scope: Any, body_file: IO[bytes]) -> Any:
        if isinstance(body_file, bodies.RefusedBody):
            response = _problem_response(body_file.error)
            response.headers["Connection"] = "close"  # the client still sends the body
            return None, response
        try:
            return super().create_request(sanitized_scope(scope), body_file)
        except TooManyFieldsSent as error:
            # Django reads the query here if the content type has a charset, and does not catch it.
            return None, _problem_response(BadRequest(f"The request cannot be read: {error}"))

    async def read_body(self, receive: Receive) -> IO[bytes]:
        return await bodies.read_body(receive)

    async def send_response(self, response: HttpResponseBase, send: Any) -> None:
        # Not by the type of `send`: error trackers give Django a `send` of their own.
        running = runtime.current()
        if running is not None and running.refusal is CloseReason.DRAINING:
            response.headers["Connection"] = "close"
        handoff = current_handoff.get()
        if handoff is None:
            await super().send_response(response, send)
        elif not response.streaming:
            await self._send_content(response, send)
        elif isinstance(response, EventStreamResponse) and handoff.take(response):
            await handoff.send_head(response, send)
        else:
            if isinstance(response, EventStreamResponse):
                self._report_wrapped(response)
                response.stream.set_client(handoff.scope)
            with handoff.backpressure():
                await super().send_response(response, send)

    async def _send_content(self, response: Any, send: Any) -> None:
        """As Django does it, in fewer steps."""
        await send(start_message(response))
        for chunk, is_last in self.chunk_bytes(response.content):
            await send({"type": "http.response.body", "body": chunk, "more_body": not is_last})

    def _report_wrapped(self, response: EventStreamResponse) -> None:
        """Log once for each type of response that its streams cannot be handed off."""
        if type(response) not in self._reported:
            self._reported.add(type(response))
            logger.warning(
                "handoff.refused",
                content_type=response.headers["Content-Type"],
                hint="a middleware wraps the iterator of streaming responses, so each stream keeps "
                "its request, and may keep a thread (carillon.W023). Let it pass those of this "
                "type.",
            )

    _middleware_chain: Any

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async)
        self._middleware_chain = convert_exception_to_response(
            ProbeMiddleware(self._middleware_chain)
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

    async def _respond_fast(self, scope: Any, receive: Receive, send: Send) -> None:
        """`ASGIHandler.handle`, except that nothing awaits a disconnect before the response.

        A stream awaits the disconnect itself once it is handed off, and a publication that has
        arrived should be finished even if its client has left.
        """
        keep_thread = not self._all_profiled
        with RequestThread(self._thread_pool, keep_thread=keep_thread) as thread:
            try:
                body = await self.read_body(receive)
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


def _problem_response(error: CarillonError) -> JsonResponse:
    """For a request that cannot even be created."""
    content = bodies.problem(error)
    return JsonResponse(content, status=error.status, content_type=bodies.PROBLEM_TYPE)


async def _lifespan(receive: Receive, send: Send) -> None:
    """Start and stop the runtime with the server, if the server supports ASGI's lifespan."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            runtime.start()
            await send({"type": "lifespan.startup.complete"})
        else:
            await wait_for_drain()
            await runtime.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return

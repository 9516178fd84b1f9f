"""The ASGI application: streams handed off, and a cheap way in for what has many requests."""

import asyncio
from contextlib import closing
from contextvars import copy_context
from io import BytesIO
from typing import IO, Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.conf import settings
from django.core.cache import close_caches
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import reset_urlconf
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries
from django.dispatch import Signal
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from notifications.asgi import middleware
from notifications.asgi.handoff import Handoff, Latch, carry
from notifications.asgi.routes import is_for_loop, remembered_match
from notifications.asgi.sanitize import readable
from notifications.asgi.threads import RequestExecutor, ThreadPool
from notifications.hub import runtime
from notifications.transport.base import Message, Receive, Send


class CarillonASGIHandler(ASGIHandler):
    """Django's, but for two things.

    An `EventStreamResponse` of any view is handed off. And requests for a view that `runs_on_loop`
    are swift: the same middleware, signals and exceptions, without a thread of their own.
    """

    def __init__(self) -> None:
        self._pool = ThreadPool()
        self._all_async = True
        self._all_known = True
        super().__init__()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        handoff = Handoff(send)
        if scope["type"] == "http" and self._all_async and is_for_loop(scope):
            # In a task, so that what Django keeps in context variables ends with the request.
            await asyncio.Task(
                self._answer(scope, receive, handoff),
                loop=asyncio.get_running_loop(),
                context=copy_context(),
                eager_start=True,
            )
        else:
            latch = Latch(receive)
            await super().__call__(scope, latch, handoff)
            if latch.disconnected:
                return
        if handoff.stream is not None:
            handoff.stream.comes_from(scope)
            await carry(handoff.stream, receive, send)

    # The chain

    def adapt_method_mode(
        self,
        is_async: bool,
        method: Any,
        method_is_async: bool | None = None,
        debug: bool = False,
        name: str | None = None,
    ) -> Any:
        adapted = super().adapt_method_mode(is_async, method, method_is_async, debug, name)
        if not is_async:
            return adapted
        if method_is_async is None:
            return middleware.swift_hook(method, adapted)
        # Above a middleware that is only synchronous, all below it runs in one thread.
        self._all_async &= method_is_async
        layer = getattr(method, "__wrapped__", None)
        # The innermost is this handler itself, which calls the view.
        if getattr(layer, "__self__", None) is not self:
            self._all_known &= middleware.blocks_of(layer) is not None
        return middleware.swift_layer(method, adapted)

    def create_request(self, scope: Any, body_file: IO[bytes]) -> Any:
        return super().create_request(readable(scope), body_file)

    # The cheap way in

    def resolve_request(self, request: Any) -> Any:
        if middleware.is_swift(request) and not hasattr(request, "urlconf"):
            match = remembered_match(request.path_info)
            if match is not None:
                request.resolver_match = match
                return match
        return super().resolve_request(request)

    async def _answer(self, scope: Any, receive: Receive, send: Handoff) -> None:
        executor = RequestExecutor(self._pool, kept=not self._all_known)
        context = ThreadSensitiveContext()
        SyncToAsync.thread_sensitive_context.set(context)
        SyncToAsync.context_to_thread_executor[context] = executor
        try:
            await self._handle(scope, receive, send)
        finally:
            SyncToAsync.context_to_thread_executor.pop(context, None)
            executor.close()

    async def _handle(self, scope: Any, receive: Receive, send: Handoff) -> None:
        """`ASGIHandler.handle`, but that nobody listens for a disconnect meanwhile.

        A stream hears it once it is handed off, and a publication had better be finished.
        """
        try:
            body = await self._body(receive)
        except RequestAborted:
            return
        with closing(body):
            set_script_prefix(get_script_prefix(scope))
            await start(type(self), scope)
            request, refusal = self.create_request(scope, body)
            if request is None:
                response: Any = refusal
            else:
                middleware.make_swift(request)
                response = await self.run_get_response(request)
            try:
                await self.send_response(response, send)
            finally:
                await finish(response, type(self))

    async def _body(self, receive: Receive) -> IO[bytes]:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestAborted
        body = message.get("body", b"")
        if not message.get("more_body") and len(body) <= settings.FILE_UPLOAD_MAX_MEMORY_SIZE:
            return BytesIO(body)

        seen = iter([message])

        async def again() -> Message:
            return next(seen, None) or await receive()

        file: IO[bytes] = await self.read_body(again)
        return file

    async def send_response(self, response: HttpResponseBase, send: Any) -> None:
        if isinstance(send, Handoff) and send.takes(response):
            await send(_beginning(response))
        elif isinstance(send, Handoff) and response.streaming:
            with send.pacing():
                await super().send_response(response, send)
        else:
            await super().send_response(response, send)


def _beginning(response: HttpResponseBase) -> Message:
    """As Django sends it."""
    headers = [(name.encode("ascii"), text.encode("latin1")) for name, text in response.items()]
    for cookie in response.cookies.values():
        headers.append((b"Set-Cookie", cookie.OutputString().encode("ascii")))  # noqa: PERF401
    return {"type": "http.response.start", "status": response.status_code, "headers": headers}


async def _lifespan(receive: Receive, send: Send) -> None:
    """Start and stop with the server, where it speaks ASGI's lifespan."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            runtime.start()
            await send({"type": "lifespan.startup.complete"})
        else:
            await runtime.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


# Django's signals of a request, sent where that costs the least.


# What they look after is of their thread. Lanes do the same for theirs, and the loop's has nothing.
DJANGOS_OWN = frozenset({reset_queries, close_old_connections, close_caches, reset_urlconf})


async def start(sender: type, scope: object) -> None:
    if _is_heard(request_started, sender):
        await request_started.asend(sender=sender, scope=scope)


async def finish(response: HttpResponseBase, sender: type) -> None:
    """Close the response, which says that the request is over."""
    closers = vars(response)["_resource_closers"]
    # Django's is one: the request's. What others have to close may block.
    its_own = len(closers) > 1 or type(response).close is not HttpResponseBase.close
    if its_own or _is_heard(request_finished, sender):
        await sync_to_async(response.close)()
    else:  # all that `close` does, but for telling nobody
        for closer in closers:
            closer()
        closers.clear()
        response.closed = True


_known: dict[tuple[Signal, type], tuple[list[Any], bool]] = {}


def _is_heard(signal: Signal, sender: type) -> bool:
    """Whether anybody but Django listens."""
    receivers, heard = _known.get((signal, sender), (None, True))
    if signal.receivers != receivers:
        receivers = list(signal.receivers)
        synchronous, asynchronous = signal._live_receivers(sender)  # noqa: SLF001
        heard = bool(asynchronous) or not DJANGOS_OWN.issuperset(synchronous)
        _known[signal, sender] = receivers, heard
    return heard

"""The middleware chain on the event loop: the fast path of requests for nonblocking views.

Django runs every hook of a `MiddlewareMixin` in a thread, though most of Django's own hooks do
nothing that blocks. For a request on the fast path those hooks are called directly, in the same
chain, in the same order, and with the same handling of exceptions. Every other middleware, and
every other request, gets Django's own treatment.
"""

from collections.abc import Callable, Sequence
from functools import partial
from inspect import iscoroutinefunction, markcoroutinefunction
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.exception import response_for_exception
from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import SimpleLazyObject

from notifications.asgi.blocking import BlockingProfile, blocking_profile

_FAST_PATH = "_carillon_fast_path"
_CHAIN = "_carillon_chain"

type Handler = Callable[[HttpRequest], Any]
type Hook = Callable[..., Any]


def put_on_fast_path(request: HttpRequest) -> None:
    """From now on, hooks that do not block are called on the event loop for this request."""
    setattr(request, _FAST_PATH, True)


def is_on_fast_path(request: HttpRequest) -> bool:
    return getattr(request, _FAST_PATH, False) is True


def drop_unused_attributes(request: HttpRequest) -> None:
    """At the end of a request, take out the lazy attributes that nobody has used.

    Each refers to its request: in a cycle, the request would wait for the garbage collector.
    """
    attributes = vars(request)
    for name in [name for name, value in attributes.items() if type(value) is _LazyAttribute]:
        del attributes[name]


def wrapped_middleware(layer: Handler) -> Any:
    """The middleware inside of a layer of the chain.

    Django's `convert_exception_to_response` wraps each layer, by `functools.wraps`.
    """
    return getattr(layer, "__wrapped__", None)


def fast_path_layer(layer: Handler, adapted: Handler) -> Handler:
    """A layer of the chain that knows the fast path; `adapted` is the same layer as Django runs it.

    Consecutive layers that know the fast path are merged, so that a request passes all of them in
    one coroutine.
    """
    middleware = wrapped_middleware(layer)
    profile = blocking_profile(middleware)
    if profile is None or not isinstance(middleware, MiddlewareMixin):
        return adapted
    below: Any = middleware.get_response
    adapters, bottom = getattr(below, _CHAIN, ((), below))
    adapters = (AsyncAdapter(middleware, profile), *adapters)
    fast = _merge(adapters, bottom)

    def call(request: HttpRequest) -> Any:
        return fast(request) if is_on_fast_path(request) else adapted(request)

    setattr(call, _CHAIN, (adapters, bottom))
    return markcoroutinefunction(call)


def fast_path_hook(hook: Hook, adapted: Hook) -> Hook:
    """A `process_view` or `process_template_response` that knows the fast path."""
    middleware = getattr(hook, "__self__", None)
    profile = blocking_profile(middleware)
    if profile is None or iscoroutinefunction(hook):
        return adapted
    is_view_hook = hook.__name__ == "process_view"

    async def call(request: HttpRequest, subject: Any, *args: Any) -> Any:
        if not is_on_fast_path(request) or (is_view_hook and profile.view(request, subject)):
            return await adapted(request, subject, *args)
        return hook(request, subject, *args)

    # Django names this middleware in its error if the hook returns None.
    call.__self__ = middleware  # type: ignore[attr-defined]
    return call


class AsyncAdapter:
    """The request and response hooks of one `MiddlewareMixin`, for requests on the fast path."""

    __slots__ = ("_lazy_attribute", "_process_request", "_process_response", "_profile")

    def __init__(self, middleware: MiddlewareMixin, profile: BlockingProfile) -> None:
        self._profile = profile
        self._lazy_attribute = profile.lazy_attribute
        # Looked up once: Django itself also ignores a hook that is added after the start.
        self._process_request: Hook | None = getattr(middleware, "process_request", None)
        self._process_response: Hook | None = getattr(middleware, "process_response", None)

    async def process_request(self, request: HttpRequest) -> Any:
        if self._process_request is None:
            return None
        if self._profile.request(request):
            return await sync_to_async(self._process_request)(request)
        if self._lazy_attribute:
            setattr(request, self._lazy_attribute, _LazyAttribute(partial(self._make, request)))
            return None
        return self._process_request(request)

    def _make(self, request: HttpRequest) -> Any:
        """Let the middleware set the lazy attribute, and return its value."""
        assert self._process_request is not None
        self._process_request(request)
        return getattr(request, self._lazy_attribute)

    async def process_response(self, request: HttpRequest, response: Any) -> Any:
        if self._process_response is None:
            return response
        lazy = self._lazy_attribute
        if lazy and type(vars(request).get(lazy)) is _LazyAttribute:  # nobody has used it
            return response
        if self._profile.response(request):
            return await sync_to_async(self._process_response)(request, response)
        return self._process_response(request, response)


class _LazyAttribute(SimpleLazyObject):  # type: ignore[type-arg]
    """Stands for the value of a request's attribute until somebody uses it.

    The middleware then sets the attribute to the value itself.
    """


def _merge(adapters: Sequence[AsyncAdapter], bottom: Handler) -> Handler:
    """One coroutine that runs several middleware, each around the next.

    It does what `MiddlewareMixin.__acall__` of each of them would do.

    An exception becomes a response for the middleware above the one that raised it, as it does in
    Django, where `convert_exception_to_response` wraps each layer.
    """

    async def call(request: HttpRequest) -> Any:
        entered = 0
        try:
            response = None
            for adapter in adapters:
                response = await adapter.process_request(request)
                entered += 1
                if response:
                    break
            else:
                response = await bottom(request)
        except Exception as error:  # noqa: BLE001 - as in Django, which logs it
            response = await _response_for(request, error)
        for adapter in reversed(adapters[:entered]):
            try:
                response = await adapter.process_response(request, response)
            except Exception as error:  # noqa: BLE001
                response = await _response_for(request, error)
        return response

    return call


def _response_for(request: HttpRequest, error: Exception) -> Any:
    respond = sync_to_async(response_for_exception, thread_sensitive=False)
    return respond(request, error)

"""The middleware chain on the event loop: the fast path of requests for nonblocking views.

Django runs every hook of a `MiddlewareMixin` in a thread, though most of Django's own hooks do
nothing that blocks. For a request on the fast path those hooks are called directly, in the same
chain, in the same order, and with the same handling of exceptions. Every other middleware, and
every other request, gets Django's own treatment.
"""

from collections.abc import Callable, Sequence
from functools import partial, wraps
from inspect import iscoroutinefunction, markcoroutinefunction
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.exception import response_for_exception
from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import SimpleLazyObject

from notifications.asgi.blocking import BlockingProfile, blocking_profile, never

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
    chain, bottom = getattr(below, _CHAIN, ((), below))
    chain = (FastHooks(middleware, profile), *chain)
    fast = _merge(chain, bottom)

    def call(request: HttpRequest) -> Any:
        return fast(request) if is_on_fast_path(request) else adapted(request)

    setattr(call, _CHAIN, (chain, bottom))
    return markcoroutinefunction(call)


def fast_path_hook(hook: Hook, adapted: Hook) -> Hook:
    """A `process_view` or `process_template_response` that knows the fast path."""
    middleware = getattr(hook, "__self__", None)
    profile = blocking_profile(middleware)
    if profile is None or iscoroutinefunction(hook):
        return adapted
    is_view_hook = hook.__name__ == "process_view"

    # APM agents name what they measure by the function.
    @wraps(hook)
    async def call(request: HttpRequest, subject: Any, *args: Any) -> Any:
        if not is_on_fast_path(request) or (is_view_hook and profile.view(request, subject)):
            return await adapted(request, subject, *args)
        return hook(request, subject, *args)

    # Django names this middleware in its error if the hook returns None.
    call.__self__ = middleware  # type: ignore[attr-defined]
    return call


class FastHooks:
    """The request and response hooks of one `MiddlewareMixin`, for requests on the fast path.

    What does not depend on the request is found out once, when the chain is built.
    """

    __slots__ = (
        *("blocks_request", "blocks_response", "lazy_attribute"),
        *("process_request", "process_response", "request_in_thread"),
    )

    def __init__(self, middleware: MiddlewareMixin, profile: BlockingProfile) -> None:
        self.lazy_attribute = profile.lazy_attribute
        self.blocks_request = None if profile.request is never else profile.request
        """None if it never blocks."""
        self.blocks_response = None if profile.response is never else profile.response
        # Looked up once: Django itself also ignores a hook that is added after the start.
        self.request_in_thread: Hook | None = getattr(middleware, "process_request", None)
        self.process_response: Hook | None = getattr(middleware, "process_response", None)
        is_lazy = self.lazy_attribute and self.request_in_thread is not None
        self.process_request = self._set_lazy_attribute if is_lazy else self.request_in_thread

    def _set_lazy_attribute(self, request: HttpRequest) -> None:
        setattr(request, self.lazy_attribute, _LazyAttribute(partial(self._make, request)))

    def _make(self, request: HttpRequest) -> Any:
        """Let the middleware set the lazy attribute, and return its value."""
        assert self.request_in_thread is not None
        self.request_in_thread(request)
        return getattr(request, self.lazy_attribute)

    def is_unused(self, request: HttpRequest) -> bool:
        """Whether it has a lazy attribute, which nobody has used."""
        name = self.lazy_attribute
        return bool(name) and type(vars(request).get(name)) is _LazyAttribute


class _LazyAttribute(SimpleLazyObject):  # type: ignore[type-arg]
    """Stands for the value of a request's attribute until somebody uses it.

    The middleware then sets the attribute to the value itself.
    """


def _merge(chain: Sequence[FastHooks], bottom: Handler) -> Handler:
    """One coroutine that runs several middleware, each around the next.

    It does what `MiddlewareMixin.__acall__` of each of them would do.

    An exception becomes a response for the middleware above the one that raised it, as it does in
    Django, where `convert_exception_to_response` wraps each layer.
    """

    async def call(request: HttpRequest) -> Any:
        entered = 0
        try:
            response = None
            for hooks in chain:
                if hooks.request_in_thread is None or hooks.process_request is None:
                    response = None
                elif hooks.blocks_request is not None and hooks.blocks_request(request):
                    response = await sync_to_async(hooks.request_in_thread)(request)
                else:
                    response = hooks.process_request(request)
                entered += 1
                if response:
                    break
            else:
                response = await bottom(request)
        except Exception as error:  # noqa: BLE001 - as in Django, which logs it
            response = await _response_for(request, error)
        innermost_first = chain[entered - 1 :: -1] if entered else ()
        return await _process_response(innermost_first, request, response)

    return call


async def _process_response(chain: Sequence[FastHooks], request: HttpRequest, response: Any) -> Any:
    for hooks in chain:
        if (process := hooks.process_response) is None or hooks.is_unused(request):
            continue
        try:
            if hooks.blocks_response is not None and hooks.blocks_response(request):
                response = await sync_to_async(process)(request, response)
            else:
                response = process(request, response)
        except Exception as error:  # noqa: BLE001
            response = await _response_for(request, error)
    return response


def _response_for(request: HttpRequest, error: Exception) -> Any:
    respond = sync_to_async(response_for_exception, thread_sensitive=False)
    return respond(request, error)

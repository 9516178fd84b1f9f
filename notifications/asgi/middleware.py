"""The middleware chain, run on the event loop where it is known not to block.

Django runs every hook of a `MiddlewareMixin` in a thread. Most of its own do nothing that blocks:
for a swift request these are called as they are, in the same chain, in the same order, and with the
same handling of exceptions. Every other middleware is called as Django calls it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from inspect import iscoroutinefunction, markcoroutinefunction
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.exception import response_for_exception
from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import SimpleLazyObject

from notifications.asgi.routes import is_class_on_loop

_SWIFT = "_carillon_swift"
_STAGES = "_carillon_stages"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")

type Handler = Callable[[HttpRequest], Any]
type Hook = Callable[..., Any]


def make_swift(request: HttpRequest) -> None:
    """From here on, what does not block is called on the event loop for this request."""
    setattr(request, _SWIFT, True)


def is_swift(request: HttpRequest) -> bool:
    return getattr(request, _SWIFT, False) is True


def _never(*_: Any) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Blocks:
    """When each hook of a middleware blocks after all.

    `makes` is what it gives a request and has no other work with, if nobody looks at that.
    """

    request: Callable[[HttpRequest], bool] = _never
    view: Callable[[HttpRequest, Any], bool] = _never
    response: Callable[[HttpRequest], bool] = _never
    makes: str = ""


def _sessions_are_custom(*_: Any) -> bool:
    return _is_custom(settings.SESSION_ENGINE)


@lru_cache(maxsize=8)
def _is_custom(engine: str) -> bool:
    store = import_module(engine).SessionStore
    used = (store.__init__, store.is_empty)
    return not all(method.__module__.startswith("django.") for method in used)


def _session_is_saved(request: HttpRequest) -> bool:
    session = getattr(request, "session", None)
    return session is not None and (
        session.modified or settings.SESSION_SAVE_EVERY_REQUEST or _sessions_are_custom()
    )


def _messages_are_custom(*_: Any) -> bool:
    return not settings.MESSAGE_STORAGE.startswith("django.")


def _messages_are_stored(request: HttpRequest) -> bool:
    messages = getattr(request, "_messages", None)
    return messages is not None and (messages.used or messages.added_new or _messages_are_custom())


def _token_is_in_session(*_: Any) -> bool:
    return settings.CSRF_USE_SESSIONS


def _token_is_checked(request: HttpRequest, view: Any) -> bool:
    return request.method not in SAFE_METHODS and not getattr(view, "csrf_exempt", False)


# By name: to import some of them is too early before Django's own set-up.
KNOWN: dict[str, Blocks] = {
    "django.contrib.auth.middleware.AuthenticationMiddleware": Blocks(),
    "django.contrib.messages.middleware.MessageMiddleware": Blocks(
        request=_messages_are_custom, response=_messages_are_stored, makes="_messages"
    ),
    "django.contrib.sessions.middleware.SessionMiddleware": Blocks(
        request=_sessions_are_custom, response=_session_is_saved
    ),
    "django.middleware.clickjacking.XFrameOptionsMiddleware": Blocks(),
    "django.middleware.common.CommonMiddleware": Blocks(),
    "django.middleware.csp.ContentSecurityPolicyMiddleware": Blocks(),
    "django.middleware.csrf.CsrfViewMiddleware": Blocks(
        request=_token_is_in_session, view=_token_is_checked, response=_token_is_in_session
    ),
    "django.middleware.http.ConditionalGetMiddleware": Blocks(),
    "django.middleware.locale.LocaleMiddleware": Blocks(),
    "django.middleware.security.SecurityMiddleware": Blocks(),
}


def blocks_of(middleware: object) -> Blocks | None:
    """When it blocks; None where that is not known, which a subclass of a known one is, too."""
    kind = type(middleware)
    if is_class_on_loop(kind):
        return Blocks()
    return KNOWN.get(f"{kind.__module__}.{kind.__qualname__}")


def swift_layer(layer: Handler, adapted: Handler) -> Handler:
    """A layer of the chain: on the loop for swift requests, and Django's own way for others."""
    middleware = getattr(layer, "__wrapped__", None)
    blocks = blocks_of(middleware)
    if blocks is None or not isinstance(middleware, MiddlewareMixin):
        return adapted
    below: Any = middleware.get_response
    stages, bottom = getattr(below, _STAGES, ((), below))
    stages = (Stage(middleware, blocks), *stages)
    swift = through(stages, bottom)

    def chosen(request: HttpRequest) -> Any:
        return swift(request) if is_swift(request) else adapted(request)

    setattr(chosen, _STAGES, (stages, bottom))
    return markcoroutinefunction(chosen)


class Stage:
    """What one `MiddlewareMixin` does to a swift request, and to its response."""

    __slots__ = ("_blocks", "_enter", "_leave", "_makes")

    def __init__(self, middleware: MiddlewareMixin, blocks: Blocks) -> None:
        self._blocks = blocks
        self._makes = blocks.makes
        # Looked up here and not at each request: Django, too, finds no hook that appears later.
        self._enter: Hook | None = getattr(middleware, "process_request", None)
        self._leave: Hook | None = getattr(middleware, "process_response", None)

    async def enter(self, request: HttpRequest) -> Any:
        if self._enter is None:
            return None
        if self._blocks.request(request):
            return await sync_to_async(self._enter)(request)
        if self._makes:
            setattr(request, self._makes, _Later(partial(self._made, request)))
            return None
        return self._enter(request)

    def _made(self, request: HttpRequest) -> Any:
        assert self._enter is not None
        self._enter(request)
        return getattr(request, self._makes)

    async def leave(self, request: HttpRequest, response: Any) -> Any:
        if self._leave is None or (self._makes and type(vars(request).get(self._makes)) is _Later):
            return response
        if self._blocks.response(request):
            return await sync_to_async(self._leave)(request, response)
        return self._leave(request, response)


class _Later(SimpleLazyObject):  # type: ignore[type-arg]
    """Made when it is first looked at."""


def through(stages: Sequence[Stage], bottom: Handler) -> Handler:
    """`MiddlewareMixin.__acall__` of one stage within the other, in one coroutine and no thread.

    An exception is a response to whatever is above the stage that raised it, as it is where each
    layer is wrapped in `convert_exception_to_response`.
    """

    async def call(request: HttpRequest) -> Any:
        entered = 0
        try:
            response = None
            for stage in stages:
                response = await stage.enter(request)
                entered += 1
                if response:
                    break
            else:
                response = await bottom(request)
        except Exception as error:  # noqa: BLE001 - Django's way, and its logging
            response = await _answer_to(request, error)
        for stage in reversed(stages[:entered]):
            try:
                response = await stage.leave(request, response)
            except Exception as error:  # noqa: BLE001
                response = await _answer_to(request, error)
        return response

    return call


def _answer_to(request: HttpRequest, error: Exception) -> Any:
    answer = sync_to_async(response_for_exception, thread_sensitive=False)
    return answer(request, error)


def swift_hook(hook: Hook, adapted: Hook) -> Hook:
    """`process_view` and `process_template_response`, likewise."""
    middleware = getattr(hook, "__self__", None)
    blocks = blocks_of(middleware)
    if blocks is None or iscoroutinefunction(hook):
        return adapted
    is_view = hook.__name__ == "process_view"

    async def chosen(request: HttpRequest, subject: Any, *rest: Any) -> Any:
        if not is_swift(request) or (is_view and blocks.view(request, subject)):
            return await adapted(request, subject, *rest)
        return hook(request, subject, *rest)

    # Django names the middleware that returned nothing.
    chosen.__self__ = middleware  # type: ignore[attr-defined]
    return chosen

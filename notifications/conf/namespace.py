"""Namespaces: topics, users and keys of one tenant that the others neither see nor concern.

`CARILLON["NAMESPACE"]` names the object that knows the tenants of a site. In the log a topic and a
subject carry their namespace; applications and browsers never see it. Without the setting there is
one namespace, the empty text, and the log holds topics as they are.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache
from typing import Protocol

from asgiref.sync import async_to_sync, sync_to_async
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils.module_loading import import_string

from notifications.conf.settings import get_settings
from notifications.errors import Invalid
from notifications.topics import NAMESPACE_END, Pattern, parse_topic

type Namespace = str
"""The name of a tenant; an empty text for what all tenants share, and for a site without any."""


class UnknownNamespace(LookupError):
    """There is no such tenant, or no longer. Raised by `Tenancy.enter`."""


class Tenancy(Protocol):
    """What `CARILLON["NAMESPACE"]` names: an object, or a class without arguments.

    It may have more methods. Two run in a thread and may query a database: `of_request(request)`,
    the namespace of a request that has passed the middleware (by default `current()`, in the thread
    of the request), and `of_handshake(request)`, that of a WebSocket, which has passed none (by
    default the empty one). `shares(model)`: whether all tenants share the table of the user model,
    or of `ApiKey`, so that a row of it is the same for all (by default no).
    """

    def current(self) -> Namespace:
        """The namespace of the code that runs now, in its own thread: a view, a task, a shell."""
        ...

    def enter(self, namespace: Namespace) -> AbstractContextManager[object]:
        """The surroundings of a namespace, such as its schema; `""` for what all tenants share.

        Entered and left in one thread. Raises `UnknownNamespace`.
        """
        ...


@cache
def _tenancy() -> Tenancy | None:
    path = get_settings().NAMESPACE
    if path is None:
        return None
    try:
        target = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"CARILLON['NAMESPACE']: {error}") from error
    tenancy: Tenancy = target() if isinstance(target, type) else target
    if not all(callable(getattr(tenancy, name, None)) for name in ("current", "enter")):
        raise ImproperlyConfigured(
            f"CARILLON['NAMESPACE']: {path} needs the methods current() and enter(namespace)."
        )
    return tenancy


@lru_cache(maxsize=4096)
def _checked(namespace: object) -> Namespace:
    if not isinstance(namespace, str):
        raise TypeError(f"A namespace is text, and not {namespace!r}.")
    try:
        return parse_topic(namespace) if namespace else ""
    except Invalid as error:
        raise ValueError(f"{namespace!r} is no namespace: {error.detail}") from None


@receiver(setting_changed)
def _forget(*, setting: str, **_: object) -> None:
    if setting in ("CARILLON", "DEBUG"):
        _tenancy.cache_clear()
        _shared_patterns.cache_clear()
        _in_log.cache_clear()
        are_shared.cache_clear()


# Which namespace


def is_used() -> bool:
    """Whether this site has namespaces."""
    return _tenancy() is not None


def current() -> Namespace:
    """The namespace of the calling code. Call it where that code runs, and not later elsewhere."""
    tenancy = _tenancy()
    return "" if tenancy is None else _checked(tenancy.current())


async def acurrent() -> Namespace:
    """As `current`, for code in an event loop: it asks in the thread of the request or task."""
    return "" if _tenancy() is None else await sync_to_async(current)()


_ATTRIBUTE = "_carillon_namespace"


async def of_request(request: HttpRequest) -> Namespace:
    """The namespace of a request, after the middleware has seen it."""
    tenancy = _tenancy()
    if tenancy is None:
        return ""
    known: Namespace | None = getattr(request, _ATTRIBUTE, None)
    if known is None:
        ask = getattr(tenancy, "of_request", None)
        known = _checked(await (sync_to_async(ask)(request) if ask else acurrent()))
        setattr(request, _ATTRIBUTE, known)
    return known


async def of_handshake(request: HttpRequest) -> Namespace:
    """The namespace of a WebSocket, by a request made of its handshake."""
    tenancy = _tenancy()
    ask: Callable[[HttpRequest], object] | None = getattr(tenancy, "of_handshake", None)
    if ask is None:
        return ""

    def find() -> object:
        with enter(""):  # the thread may still be where another request has left it
            return ask(request)

    return _checked(await sync_to_async(find)())


def assign(request: HttpRequest, namespace: Namespace) -> None:
    """Decide the namespace of a request that no middleware has seen."""
    setattr(request, _ATTRIBUTE, namespace)


# Its surroundings


def enter(namespace: Namespace) -> AbstractContextManager[object]:
    """Within the block, this thread is in the namespace. Raises `UnknownNamespace`."""
    tenancy = _tenancy()
    return nullcontext() if tenancy is None else tenancy.enter(namespace)


async def run_in[T](namespace: Namespace, call: Callable[[], Awaitable[T]]) -> T:
    """Await `call()` in the surroundings of a namespace. Raises `UnknownNamespace`.

    What surrounds a tenant often belongs to a thread (a connection's schema). So one thread enters
    the namespace, and everything that the call does in threads comes back to that one.
    """
    if _tenancy() is None:
        return await call()

    async def run() -> T:
        return await call()

    def enter_and_run() -> T:
        with enter(namespace):
            return async_to_sync(run)()

    return await sync_to_async(enter_and_run)()


# In the log


def log_topics(namespace: Namespace, topics: Iterable[str]) -> tuple[str, ...]:
    """Topics as the log has them: with their namespace, unless all tenants share them."""
    return tuple(_in_log(namespace, topic) for topic in topics) if namespace else tuple(topics)


def log_topic(namespace: Namespace, topic: str) -> str:
    return _in_log(namespace, topic) if namespace else topic


@lru_cache(maxsize=4096)
def _in_log(namespace: Namespace, topic: str) -> str:
    return topic if is_shared(topic) else f"{namespace}{NAMESPACE_END}{topic}"


def is_shared(topic: str) -> bool:
    """Whether all tenants share the topic, by `SHARED_TOPICS`."""
    return any(pattern.covers(topic) for pattern in _shared_patterns())


@cache
def _shared_patterns() -> tuple[Pattern, ...]:
    return tuple(map(Pattern, get_settings().SHARED_TOPICS))


def log_subject(namespace: Namespace, subject: str) -> str:
    """A subject (`user:5`) as the log has it: with its namespace, unless all tenants share it.

    Its kind stays in front.
    """
    kind, _, name = subject.partition(":")
    if not namespace or kind in UNIQUE_KINDS or are_shared(kind):
        return subject
    if kind == "topic":
        return f"{kind}:{_in_log(namespace, name)}"
    return f"{kind}:{namespace}{NAMESPACE_END}{name}"


UNIQUE_KINDS = frozenset({"session", "link"})
"""Kinds of subjects whose names are digests or random: no tenant has the name of another."""


@cache
def are_shared(kind: str) -> bool:
    """Whether all tenants share the table of these subjects, so that user 5 is one person."""
    shares = getattr(_tenancy(), "shares", None)
    if shares is None or kind not in ("user", "key"):
        return False
    model = get_user_model() if kind == "user" else apps.get_model("carillon", "ApiKey")
    return bool(shares(model))


def current_for(subjects: Iterable[str]) -> Namespace:
    """The namespace of the calling code, if it makes a difference to these subjects."""
    if _tenancy() is None:
        return ""
    kinds = {subject.partition(":")[0] for subject in subjects}
    if kinds == {"*"}:  # everyone: all users
        kinds = {"user"}
    is_needed = any(kind not in UNIQUE_KINDS and not are_shared(kind) for kind in kinds)
    return current() if is_needed else ""


def scoped(namespace: Namespace, text: str) -> str:
    """A text that differs from the same text of other namespaces."""
    return f"{namespace}{NAMESPACE_END}{text}" if namespace else text


def log_subjects(namespace: Namespace, subjects: Iterable[str]) -> tuple[str, ...]:
    if not namespace:
        return tuple(subjects)
    return tuple(log_subject(namespace, subject) for subject in subjects)

"""Reads from the primary database: a replica may lag behind the write that ended a permission.

Sites with replicas send reads to them by `DATABASE_ROUTERS`. While a grant is decided or rechecked,
a router of ours is asked before those, and sends every read where the writes go.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from django.db import router

from notifications.conf import Settings
from notifications.log.entries import EVERYONE, ControlEntry

MAX_LAG_SECONDS = 600.0
"""For how long after a control entry a replica may still have the rows of before."""

_is_reading: ContextVar[bool] = ContextVar("carillon_reads_from_primary", default=False)


class PrimaryRouter:
    """The first of Django's database routers. It has an opinion only in `reads_from_primary`."""

    def db_for_read(self, model: type[Any], **hints: Any) -> str | None:
        return router.db_for_write(model, **hints) if _is_reading.get() else None


_PRIMARY_ROUTER = PrimaryRouter()


def routes_reads() -> bool:
    """Whether a router of the site decides where reads go, so that a replica may answer them."""
    return any(
        each is not _PRIMARY_ROUTER and hasattr(each, "db_for_read") for each in router.routers
    )


def reads_from_primary() -> AbstractContextManager[None]:
    """Within the block, and in the threads and tasks that it uses, the ORM reads from the primary.

    `QuerySet.using()` is obeyed all the same.
    """
    return _reading_from_primary() if routes_reads() else nullcontext()


@contextmanager
def _reading_from_primary() -> Iterator[None]:
    # Here, and not once at the start, because a changed setting brings a new list.
    if router.routers[0] is not _PRIMARY_ROUTER:
        router.routers.insert(0, _PRIMARY_ROUTER)
    before = _is_reading.get()
    _is_reading.set(True)
    try:
        yield
    finally:
        _is_reading.set(before)


def is_from_replica(instance: Any) -> bool:
    """Whether a model's instance was read from another database than the writes go to."""
    state = getattr(instance, "_state", None)
    # `__class__`, because `request.user` may be lazy, and then its type is not the model.
    return state is not None and state.db not in (None, router.db_for_write(instance.__class__))


class RecentSubjects:
    """The subjects that control entries have named lately. Thread-safe."""

    def __init__(
        self, *, seconds: float = MAX_LAG_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._named: dict[str, float] = {}
        self._lock = threading.Lock()

    def add(self, subjects: Iterable[str]) -> None:
        now = self._clock()
        with self._lock:
            for subject in subjects:
                self._named.pop(subject, None)  # so that the oldest is always the first
                self._named[subject] = now
            while self._named and now - next(iter(self._named.values())) > self._seconds:
                del self._named[next(iter(self._named))]

    def has_any(self, subjects: Iterable[str]) -> bool:
        since = self._clock() - self._seconds
        return any(self._named.get(subject, since) > since for subject in (EVERYONE, *subjects))


recent_subjects = RecentSubjects()


def remember_subjects(control: ControlEntry) -> None:
    """An observer of control entries: what was read before of these subjects may be outdated."""
    if routes_reads():
        recent_subjects.add(control.subjects)


async def distrust_the_past(_: Settings) -> None:
    """A service of each runtime: nobody knows which control entries came before it started."""
    if routes_reads():
        recent_subjects.add((EVERYONE,))

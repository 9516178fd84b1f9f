"""The sessions and users of requests that wait at the same moment, read together.

When many browsers come at once, each with a session, each would wait for a thread and ask the
database twice. Here what comes up while the event loop is busy, or while a thread reads, is read
by two queries in one visit to a thread.
"""

import asyncio
import concurrent.futures
from collections.abc import Iterable, Mapping
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from itertools import islice
from weakref import WeakKeyDictionary

from django.db import OperationalError
from django.http import HttpRequest

from notifications.access.identities import sessions_together
from notifications.access.identities.sessions_together import Found
from notifications.asgi.request_thread import shared_pool
from notifications.asgi.threads import MAX_WAITING, RequestExecutor, ThreadPool
from notifications.conf import get_settings
from notifications.hub.primary import routes_reads

MANY_REQUESTS, MAX_REQUESTS_AT_ONCE = 5, 100
"""Fewer cost less one by one, since the queries for all of them have to be compiled."""
MAX_ITERATIONS, GATHER_SECONDS = 10, 0.05
"""For how long a request waits, at most, for others that come: in iterations of the event loop."""
SLOW_SECONDS = 0.1
"""After so long without an answer of the database, others do not wait for that one any more."""

_crowds: WeakKeyDictionary[asyncio.AbstractEventLoop, "Crowd"] = WeakKeyDictionary()


async def read_user(request: HttpRequest) -> bool:
    """Read the user of the request's session, together with others that wait.

    False if the request has to read it by itself: where anything is not exactly Django's own, where
    few wait, where a database failed, and where the session has no user in the end.
    """
    pool = shared_pool()
    if (
        pool is None
        or get_settings().NAMESPACE is not None
        or routes_reads()
        or not sessions_together.is_djangos(request)
    ):
        return False
    crowd = _crowds.setdefault(asyncio.get_running_loop(), Crowd())
    key = request.session.session_key or ""
    found = await crowd.find(key, pool)
    # Meanwhile the request may have been given another session.
    is_same = sessions_together.is_djangos(request) and request.session.session_key == key
    if found is None or not is_same:
        return False
    sessions_together.use(request, found)
    return True


@dataclass(eq=False, slots=True)
class _Waiting:
    key: str
    found: asyncio.Future[Found | None]


type _Batch = Iterable[_Waiting]
type _Reading = concurrent.futures.Future[dict[str, Found]]


class Crowd:
    """The requests of one event loop that wait for their sessions. Its methods run in that loop."""

    def __init__(self) -> None:
        self._waiting: dict[_Waiting, None] = {}
        self._gathers = False
        self._reads = False
        """Whether a batch is being read, and not for too long yet."""

    async def find(self, key: str, pool: ThreadPool) -> Found | None:
        """What was found of the session with this key. None if it has to be read by itself."""
        if len(self._waiting) >= MAX_WAITING:
            return None
        loop = asyncio.get_running_loop()
        waiting = _Waiting(key, loop.create_future())
        self._waiting[waiting] = None
        if not self._gathers and not self._reads:
            self._gathers = True
            until = loop.time() + GATHER_SECONDS
            loop.call_soon(self._gather, pool, 1, MAX_ITERATIONS, until, context=Context())
        try:
            return await waiting.found
        finally:
            self._waiting.pop(waiting, None)

    def _gather(self, pool: ThreadPool, before: int, iterations: int, until: float) -> None:
        """Wait as long as each iteration of the event loop brings more."""
        count, loop = len(self._waiting), asyncio.get_running_loop()
        if iterations and before < count < MAX_REQUESTS_AT_ONCE and loop.time() < until:
            arguments = (pool, count, iterations - 1, until)
            loop.call_soon(self._gather, *arguments, context=Context())
            return
        self._gathers = False
        self._read_next(pool, loop)

    def _read_next(self, pool: ThreadPool, loop: asyncio.AbstractEventLoop) -> None:
        batch = list(islice(self._waiting, MAX_REQUESTS_AT_ONCE))
        for waiting in batch:
            del self._waiting[waiting]
        if len(batch) < MANY_REQUESTS:
            _answer(batch, {})
            return
        try:
            reading = RequestExecutor(pool, keep_thread=False).submit(_read, batch)
        except (OperationalError, RuntimeError):  # no thread: each finds that out by itself
            _answer([*batch, *self._waiting], {})
            return
        self._reads = True
        slow = loop.call_later(SLOW_SECONDS, self._read_on, pool, context=Context())
        ended = partial(self._ended, batch, pool, slow)
        reading.add_done_callback(partial(_call_in, loop, ended))

    def _ended(
        self, batch: _Batch, pool: ThreadPool, slow: asyncio.TimerHandle, reading: _Reading
    ) -> None:
        slow.cancel()
        # After an error each asks the database by itself, and gets its own.
        _answer(batch, {} if reading.exception() is not None else reading.result())
        self._read_on(pool)

    def _read_on(self, pool: ThreadPool) -> None:
        """Read what has come meanwhile: the database has answered, or others wait no longer."""
        self._reads = False
        if self._waiting and not self._gathers:
            self._read_next(pool, asyncio.get_running_loop())


def _read(batch: _Batch) -> dict[str, Found]:
    """In the thread. While the batch waited for it, many may have given up."""
    keys = {waiting.key for waiting in batch if not waiting.found.done()}
    return sessions_together.read_together(keys) if keys else {}


def _answer(batch: _Batch, found: Mapping[str, Found]) -> None:
    left = dict(found)
    for waiting in batch:
        if not waiting.found.done():  # the request may be over
            waiting.found.set_result(left.pop(waiting.key, None))  # what was found is one request's


def _call_in(loop: asyncio.AbstractEventLoop, ended: partial[None], reading: _Reading) -> None:
    """In the thread."""
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(ended, reading, context=Context())

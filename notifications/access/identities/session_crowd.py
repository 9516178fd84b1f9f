"""The sessions and users of requests that wait at the same moment, read together.

When many browsers come at once, each with a session, each would wait for a thread and ask the
database twice. Here what comes up while the event loop is busy, or while a thread reads, is read by
two queries in one visit to a thread.
"""

import asyncio
import concurrent.futures
from collections.abc import Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

from django.db import OperationalError
from django.http import HttpRequest

from notifications.access.identities import session_queries
from notifications.asgi.request_thread import shared_pool
from notifications.asgi.threads import RequestExecutor, ThreadPool
from notifications.conf import get_settings
from notifications.hub.primary import routes_reads

MAX_REQUESTS_AT_ONCE = 100
MAX_ITERATIONS = 10
"""For how many iterations of the event loop a request waits, at most, for others that come."""
SLOW_SECONDS = 0.1
"""After so long without an answer of the database, others do not wait for that one any more."""
MAX_READING = 4

_crowds: WeakKeyDictionary[asyncio.AbstractEventLoop, "Crowd"] = WeakKeyDictionary()


async def read_user(request: HttpRequest) -> bool:
    """Read the user of the request's session, together with others that wait.

    False if the request has to read it by itself: where anything is not exactly Django's own, where
    a database failed, and where the session has no user in the end.
    """
    pool = shared_pool()
    if (
        pool is None
        or get_settings().NAMESPACE is not None
        or routes_reads()
        or not session_queries.is_djangos(request)
    ):
        return False
    return await _crowds.setdefault(asyncio.get_running_loop(), Crowd()).read(request, pool)


@dataclass(frozen=True, slots=True)
class _Waiting:
    request: HttpRequest
    context: Context
    is_read: asyncio.Future[bool]


type _Batch = Sequence[_Waiting]
type _Reading = concurrent.futures.Future[list[bool]]


class Crowd:
    """The requests of one event loop that wait for their users. Its methods run in that loop."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._gathers = False
        self._reading = 0
        """How many batches are being read."""
        self._began = 0.0

    async def read(self, request: HttpRequest, pool: ThreadPool) -> bool:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(request, copy_context(), loop.create_future())
        self._waiting.append(waiting)
        if not self._gathers and self._may_read(loop):
            self._gathers = True
            loop.call_soon(self._gather, pool, 1, MAX_ITERATIONS, context=Context())
        return await waiting.is_read

    def _may_read(self, loop: asyncio.AbstractEventLoop) -> bool:
        is_slow = loop.time() - self._began > SLOW_SECONDS
        return not self._reading or (is_slow and self._reading < MAX_READING)

    def _gather(self, pool: ThreadPool, before: int, iterations: int) -> None:
        """Wait as long as each iteration of the event loop brings more."""
        count, loop = len(self._waiting), asyncio.get_running_loop()
        if iterations and before < count < MAX_REQUESTS_AT_ONCE:
            loop.call_soon(self._gather, pool, count, iterations - 1, context=Context())
            return
        self._gathers = False
        self._read_next(pool, loop)

    def _read_next(self, pool: ThreadPool, loop: asyncio.AbstractEventLoop) -> None:
        batch = self._waiting[:MAX_REQUESTS_AT_ONCE]
        del self._waiting[:MAX_REQUESTS_AT_ONCE]
        requests = [(each.request, each.context) for each in batch]
        executor = RequestExecutor(pool, keep_thread=False)
        self._began = loop.time()
        try:
            reading = executor.submit(session_queries.read_users, requests)
        except (OperationalError, RuntimeError):  # no thread: each finds that out by itself
            _answer(batch, [False] * len(batch))
            return
        self._reading += 1
        ended = partial(self._ended, batch, pool)
        reading.add_done_callback(partial(_call_in, loop, ended))

    def _ended(self, batch: _Batch, pool: ThreadPool, reading: _Reading) -> None:
        self._reading -= 1
        failed = reading.exception() is not None
        _answer(batch, [False] * len(batch) if failed else reading.result())
        loop = asyncio.get_running_loop()
        if self._waiting and not self._gathers and self._may_read(loop):
            self._read_next(pool, loop)


def _answer(batch: _Batch, answers: Sequence[bool]) -> None:
    for waiting, answer in zip(batch, answers, strict=True):
        if not waiting.is_read.done():  # the request may be over
            waiting.is_read.set_result(answer)


def _call_in(loop: asyncio.AbstractEventLoop, ended: partial[None], reading: _Reading) -> None:
    """In the thread."""
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(ended, reading, context=Context())

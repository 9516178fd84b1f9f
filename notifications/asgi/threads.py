"""Lanes: the few threads in which requests do what would block the event loop.

Django makes a thread for each request, and with it a database connection. Here a request that needs
a thread leases one of a few that live on, and is alone with its connections meanwhile.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager
from contextvars import Context
from queue import Empty, SimpleQueue

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.core.cache import close_caches
from django.db import OperationalError, close_old_connections, connections, reset_queries

logger = logging.getLogger("carillon")

THREADS = 8
MAX_WAITING = 2_000
"""Beyond this a request is refused at once: the database hangs, or cannot keep up."""
PATIENCE = 0.02
"""How long a request waits for a thread before there is one more."""
LINGER = 1.0
"""How long a connection that only this service has read from is kept for the next request."""

type Work = Callable[[], None]
type Inbox = SimpleQueue[RequestExecutor]


class ThreadPool:
    """No more threads than keep up, and never more than `THREADS`. They end when idle.

    Who was idle last is asked first, so that its connection is still open, and the others can end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[float, RequestExecutor]] = deque()
        self._idle: list[Inbox] = []
        self._threads = 0
        self._watched = False

    def lease(self, executor: "RequestExecutor") -> None:
        """Run the lane in a thread, when one is free. Raises `OperationalError` if that is far."""
        with self._lock:
            if self._idle:
                self._idle.pop().put(executor)
                return
            if len(self._waiting) >= MAX_WAITING:
                raise OperationalError("Too many requests wait for the database.")
            self._waiting.append((time.monotonic(), executor))
            if self._threads and self._watch():
                return
            self._start()

    def _start(self) -> None:
        if self._threads < THREADS:
            self._threads += 1
            # A database that hangs must not keep the process from ending.
            threading.Thread(target=self._work, name="carillon-lane", daemon=True).start()

    def _watch(self) -> bool:
        """See to it that who waits does so for `PATIENCE`, and then gets a thread of its own."""
        if not self._watched:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return False
            self._watched = True
            loop.call_later(PATIENCE, self._look, context=Context())
        return True

    def _look(self) -> None:
        with self._lock:
            self._watched = False
            if self._waiting:
                if time.monotonic() - self._waiting[0][0] >= PATIENCE:
                    self._start()
                if self._threads < THREADS:
                    self._watch()

    def _work(self) -> None:
        inbox: Inbox = SimpleQueue()
        checked = time.monotonic()
        while True:
            while executor := self._next(inbox):
                clean = executor.run()
                if not clean or time.monotonic() - checked >= LINGER:
                    _tidy()
                    checked = time.monotonic()
                del executor
            _tidy()
            if self._is_over():
                return

    def _next(self, inbox: "Inbox") -> "RequestExecutor | None":
        """The next lane, or None when there was nothing to do for a while."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()[1]
            self._idle.append(inbox)
        try:
            return inbox.get(timeout=LINGER)
        except Empty:
            with self._lock:
                if inbox in self._idle:
                    self._idle.remove(inbox)
                    return None
            return inbox.get()

    def _is_over(self) -> bool:
        """Whether this thread, idle, may end: not while `CONN_MAX_AGE` keeps a connection open."""
        if any(each.connection is not None for each in connections.all(initialized_only=True)):
            return False
        with self._lock:
            if self._waiting:
                return False
            self._threads -= 1
            return True


def _tidy() -> None:
    """As Django does between requests. Nothing that it comes across may end the thread."""
    try:
        close_old_connections()
        close_caches()
    except Exception:
        logger.exception("lane.untidy")


class RequestExecutor(Executor):
    """What one request does in threads, in order.

    A lane that is `kept` stays in one thread until it is closed, as code that keeps something there
    or on a connection expects; any other is in a thread only while it has something to do.
    """

    def __init__(self, thread_pool: ThreadPool, *, kept: bool) -> None:
        self._pool = thread_pool
        self._kept = kept
        self._todo: SimpleQueue[Work | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._leased = False

    def submit[**P, R](self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        future: Future[R] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - it is for who waits
                    future.set_exception(error)

        with self._lock:
            if not self._leased:
                self._pool.lease(self)
                self._leased = True
            self._todo.put(work)
        return future

    def close(self) -> None:
        """The request is over. What it left to do is still done."""
        with self._lock:
            if self._leased and self._kept:
                self._todo.put(None)

    def run(self) -> bool:
        """In the thread. Returns whether the connections may be left as they are."""
        reset_queries()
        while (work := self._take()) is not None:
            work()
        return not self._kept and not any(
            each.errors_occurred or each.in_atomic_block or each.needs_rollback
            for each in connections.all(initialized_only=True)
        )

    def _take(self) -> Work | None:
        if self._kept:
            return self._todo.get()
        with self._lock:
            try:
                return self._todo.get_nowait()
            except Empty:
                self._leased = False
                return None


# Threads for what commands ask the database: a lane, for as long as one is needed.


_pool = ThreadPool()


@asynccontextmanager
async def in_request_thread() -> AsyncGenerator[None]:
    """Without one, all of a process would share one thread, whose connection nobody looks after."""
    executor = RequestExecutor(_pool, kept=False)
    context = ThreadSensitiveContext()
    token = SyncToAsync.thread_sensitive_context.set(context)
    SyncToAsync.context_to_thread_executor[context] = executor
    try:
        yield
    finally:
        SyncToAsync.thread_sensitive_context.reset(token)
        SyncToAsync.context_to_thread_executor.pop(context, None)
        executor.close()

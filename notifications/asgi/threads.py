"""A thread pool for the parts of a request that would block the event loop.

Django makes a thread for each request, and with the thread a database connection. Here a request
that needs a thread borrows one of a few that live on, and until it returns the thread, no other
request uses the thread's connections.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from contextvars import Context
from queue import Empty, SimpleQueue

from django.core.cache import close_caches
from django.db import (
    DatabaseError,
    OperationalError,
    close_old_connections,
    connections,
    reset_queries,
)

from notifications.telemetry.logs import logger

MAX_THREADS = 8
MAX_WAITING = 2_000
"""If so many requests wait, another is refused at once: the database hangs or cannot keep up."""
GROWTH_SECONDS = 0.02
"""How long a request waits for one of the pool's threads before the pool starts another."""
CLEANUP_SECONDS = 1.0
"""How often a thread lets Django close unusable connections. It does so at once after a request
that kept its thread, or that left an error or a transaction behind."""
THREAD_IDLE_SECONDS = 1.0
"""How long a thread waits for work before it cleans up and ends."""

type Work = Callable[[], None]
type Inbox = SimpleQueue[RequestExecutor]


def close_unusable_connections() -> None:
    """What Django does between two requests."""
    close_old_connections()
    close_caches()


def close_connections() -> None:
    """What a thread does before it ends."""
    with suppress(DatabaseError):
        connections.close_all()
    close_caches()


def close_idle_connections() -> None:
    """Close the thread's connections to databases, except for those in a transaction."""
    for db in connections.all(initialized_only=True):
        if not db.in_atomic_block:
            with suppress(DatabaseError):
                db.close()


class ThreadPool:
    """Runs each `RequestExecutor` in one thread at a time, in at most `max_threads` threads.

    The first thread starts at once, and each further one only after a request has waited for
    `growth_seconds`. Idle threads end. Of several idle threads the pool uses the one that was busy
    last: its connection is still open, and the others can end.
    """

    def __init__(
        self,
        *,
        max_threads: int = MAX_THREADS,
        max_waiting: int = MAX_WAITING,
        growth_seconds: float = GROWTH_SECONDS,
        cleanup_seconds: float = CLEANUP_SECONDS,
        idle_seconds: float = THREAD_IDLE_SECONDS,
        clean_up: Callable[[], None] = close_unusable_connections,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_threads = max_threads
        self._max_waiting = max_waiting
        self._growth_seconds = growth_seconds
        self._cleanup_seconds = cleanup_seconds
        self._idle_seconds = idle_seconds
        self._clean_up = clean_up
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[tuple[float, RequestExecutor]] = deque()
        self._idle: list[Inbox] = []
        self._threads = 0
        self._growth_scheduled = False

    def lease(self, executor: "RequestExecutor") -> None:
        """Run the executor in a thread as soon as one is free.

        Raises `OperationalError` if too many executors wait already.
        """
        with self._lock:
            if self._idle:
                self._idle.pop().put(executor)
                return
            if len(self._waiting) >= self._max_waiting:
                raise OperationalError("Too many requests wait for the database.")
            self._waiting.append((self._clock(), executor))
            if self._threads and self._schedule_growth():
                return
            try:
                self._start_thread()
            except RuntimeError:  # the process may have no more threads
                self._waiting.pop()
                raise

    def give_up_thread(self) -> None:
        """One of the threads stays with its request: the pool may start another in its place."""
        with self._lock:
            self._threads -= 1
            if self._waiting and self._schedule_growth():
                with suppress(RuntimeError):  # `_grow` tries again
                    self._start_thread()

    def _start_thread(self) -> None:
        if self._threads < self._max_threads:
            # A daemon, so that a database that hangs does not keep the process from ending.
            thread = threading.Thread(target=self._run, name="carillon-request", daemon=True)
            # Error trackers give a new thread the context of its starter, which is one request.
            Context().run(thread.start)
            self._threads += 1

    def _schedule_growth(self) -> bool:
        """See to it that `_grow` is called. False if no event loop runs in this thread."""
        if not self._growth_scheduled:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return False
            self._growth_scheduled = True
            loop.call_later(self._growth_seconds, self._grow, context=Context())
        return True

    def _grow(self) -> None:
        with self._lock:
            self._growth_scheduled = False
            if self._waiting:
                if self._threads < self._max_threads:
                    self._schedule_growth()
                if self._clock() - self._waiting[0][0] >= self._growth_seconds:
                    self._start_thread()

    # In a thread of the pool

    def _run(self) -> None:
        inbox: Inbox = SimpleQueue()
        cleaned_at = self._clock()
        while True:
            while executor := self._next_executor(inbox):
                clean = executor.run()
                if executor.has_left_pool:
                    return
                if not clean or self._clock() - cleaned_at >= self._cleanup_seconds:
                    self._try_clean_up()
                    cleaned_at = self._clock()
                del executor
            self._try_clean_up()
            if self._may_end():
                return

    def _next_executor(self, inbox: "Inbox") -> "RequestExecutor | None":
        """The next executor, or None after `idle_seconds` without one."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()[1]
            self._idle.append(inbox)
        try:
            return inbox.get(timeout=self._idle_seconds)
        except Empty:
            with self._lock:
                if inbox in self._idle:
                    self._idle.remove(inbox)
                    return None
            return inbox.get()

    def _try_clean_up(self) -> None:
        """Clean up, and log an error instead of letting it end the thread."""
        try:
            self._clean_up()
        except Exception:
            logger.exception("thread.cleanup_failed")

    def _may_end(self) -> bool:
        """Whether this idle thread may end: not while `CONN_MAX_AGE` keeps a connection open."""
        if any(db.connection is not None for db in connections.all(initialized_only=True)):
            return False
        with self._lock:
            if self._waiting:
                return False
            self._threads -= 1
            return True


class RequestExecutor(Executor):
    """Runs what one request does in threads, one call at a time and in order.

    With `keep_thread` all calls run in the same thread, and the executor occupies it until it is
    closed. Use `keep_thread` for code that keeps something in its thread or on a connection.
    Without `keep_thread`, the executor occupies a thread only while it has something to run.
    """

    def __init__(self, thread_pool: ThreadPool, *, keep_thread: bool) -> None:
        self.pool = thread_pool
        self.may_keep_thread = keep_thread
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._leased = False
        self.has_left_pool = False
        """Whether the thread belongs to this request alone, and ends with it."""

    def submit[**P, R](self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        future: Future[R] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - raised where the future is awaited
                    future.set_exception(error)

        with self._lock:
            if not self._leased:
                self.pool.lease(self)
                self._leased = True
            self._queue.put(work)
        return future

    def close(self) -> None:
        """The request is over. Calls that are queued still run."""
        with self._lock:
            if self._leased and self.may_keep_thread:
                if self.has_left_pool:
                    self._queue.put(close_connections)
                self._queue.put(None)

    @property
    def keeps_thread(self) -> bool:
        """Whether it occupies a thread for longer than a call."""
        return self.may_keep_thread and self._leased

    def leave_pool(self) -> bool:
        """Take the thread that this executor occupies out of the pool.

        False if it occupies none for longer than a call.
        """
        with self._lock:
            if self._leased and self.may_keep_thread and not self.has_left_pool:
                self.has_left_pool = True
                self.pool.give_up_thread()
        return self.has_left_pool

    def run(self) -> bool:
        """Run the queued calls, in a thread of the pool.

        Returns whether the next request may use the thread's connections as they are.
        """
        reset_queries()
        while (work := self._next_work()) is not None:
            work()
        return not self.may_keep_thread and not any(
            db.errors_occurred or db.in_atomic_block or db.needs_rollback
            for db in connections.all(initialized_only=True)
        )

    def _next_work(self) -> Work | None:
        if self.may_keep_thread:
            return self._queue.get()
        with self._lock:
            try:
                return self._queue.get_nowait()
            except Empty:
                self._leased = False
                return None

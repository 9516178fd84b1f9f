"""The thread in which one request's `sync_to_async` runs: the pool's, and later its own."""

from contextvars import Token
from types import TracebackType
from typing import Self

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext

from notifications.asgi.threads import (
    RequestExecutor,
    ThreadPool,
    close_connections,
    close_idle_connections,
)

_default_pool = ThreadPool()


class RequestThread:
    """Where `sync_to_async` runs for one request: within the block, in a thread of the pool.

    Without this, asgiref runs all such calls of a process in one shared thread, whose database
    connection nobody closes.
    """

    def __init__(
        self, thread_pool: ThreadPool = _default_pool, *, keep_thread: bool = False
    ) -> None:
        self._executor = RequestExecutor(thread_pool, keep_thread=keep_thread)
        self._context = ThreadSensitiveContext()
        self._token: Token[ThreadSensitiveContext] | None = None
        self._has_left = False

    def __enter__(self) -> Self:
        # What asgiref's own `async with ThreadSensitiveContext()` does, but with an executor of
        # ours; these two attributes are undocumented.
        self._token = SyncToAsync.thread_sensitive_context.set(self._context)
        SyncToAsync.context_to_thread_executor[self._context] = self._executor
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The request is over."""
        if self._token is not None:
            SyncToAsync.thread_sensitive_context.reset(self._token)
        SyncToAsync.context_to_thread_executor.pop(self._context, None)
        self._executor.close()

    @property
    def is_kept(self) -> bool:
        """Whether the request occupies a thread until it is over."""
        return self._executor.keeps_thread

    def leave_pool(self) -> None:
        """From now on, hold no thread of the pool, however long the request still lasts.

        As under Django's own handler, the request then has a thread to itself, and calls that take
        long hold up nobody else. It is the one that the request occupies, because middleware may
        have left something there. If it occupies none, the first call starts one.
        """
        if self._has_left:
            return
        self._has_left = True
        if not self._executor.leave_pool():
            own_pool = ThreadPool(max_threads=1, cleanup_seconds=0, clean_up=close_connections)
            self._executor = RequestExecutor(own_pool, keep_thread=True)
            SyncToAsync.context_to_thread_executor[self._context] = self._executor

    def close_idle_connections(self) -> None:
        """Close the connections in the thread that the request has taken out of the pool."""
        if self._executor.has_left_pool:
            self._executor.submit(close_idle_connections)


def shared_pool() -> ThreadPool | None:
    """The pool from which this request borrows a thread for each call.

    None if it keeps one thread, or none of ours: its middleware may have left something there.
    None too in what a thread awaits by `async_to_sync`: that thread may be in a transaction, and
    where all threads of the pool wait like this, no other would ever be free.
    """
    if getattr(AsyncToSync.executors, "current", None) is not None:
        return None
    context = SyncToAsync.thread_sensitive_context.get(None)
    executor = None if context is None else SyncToAsync.context_to_thread_executor.get(context)
    if not isinstance(executor, RequestExecutor) or executor.may_keep_thread:
        return None
    return executor.pool

"""The thread in which one request's `sync_to_async` runs: the pool's, and later its own."""

from collections.abc import Generator
from contextlib import contextmanager

from asgiref.sync import SyncToAsync, ThreadSensitiveContext

from notifications.asgi.threads import (
    RequestExecutor,
    ThreadPool,
    close_connections,
    close_idle_connections,
)


class RequestThread:
    """Where `sync_to_async` runs for one request."""

    def __init__(self, context: ThreadSensitiveContext, executor: RequestExecutor) -> None:
        self._context = context
        self._executor = executor
        self._has_left = False

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

    def close(self) -> None:
        """The request is over."""
        SyncToAsync.context_to_thread_executor.pop(self._context, None)
        self._executor.close()


_default_pool = ThreadPool()


@contextmanager
def in_request_thread(
    thread_pool: ThreadPool = _default_pool, *, keep_thread: bool = False
) -> Generator[RequestThread]:
    """Within the block, `sync_to_async` runs in a thread of the pool, as a request does.

    Without this, asgiref runs all such calls of a process in one shared thread, whose database
    connection nobody closes.
    """
    executor = RequestExecutor(thread_pool, keep_thread=keep_thread)
    context = ThreadSensitiveContext()
    # What asgiref's own `async with ThreadSensitiveContext()` does, but with an executor of ours;
    # these two attributes are undocumented.
    token = SyncToAsync.thread_sensitive_context.set(context)
    SyncToAsync.context_to_thread_executor[context] = executor
    thread = RequestThread(context, executor)
    try:
        yield thread
    finally:
        SyncToAsync.thread_sensitive_context.reset(token)
        thread.close()

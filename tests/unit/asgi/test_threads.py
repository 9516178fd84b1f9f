"""The thread pool: few threads, each for one request at a time, and none when they are idle."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

import pytest
from django import db
from django.db import OperationalError

from notifications.asgi.threads import RequestExecutor, ThreadPool

DEADLINE_SECONDS = 60.0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def executor_of(thread_pool: ThreadPool, *, keep_thread: bool = False) -> RequestExecutor:
    return RequestExecutor(thread_pool, keep_thread=keep_thread)


def current_thread() -> threading.Thread:
    return threading.current_thread()


def thread_of(executor: RequestExecutor) -> threading.Thread:
    return executor.submit(current_thread).result(DEADLINE_SECONDS)


def blocked(
    executor: RequestExecutor, gate: threading.Event
) -> tuple[threading.Event, "Future[bool]"]:
    """A call that sets the first event when it starts, and lasts until the gate opens."""
    started = threading.Event()

    def block() -> bool:
        started.set()
        return gate.wait(DEADLINE_SECONDS)

    return started, executor.submit(block)


def test_calls_run_in_another_thread_in_their_order() -> None:
    executor, done = executor_of(ThreadPool()), list[int]()
    futures = [executor.submit(done.append, n) for n in range(20)]
    wait(futures, DEADLINE_SECONDS)
    assert done == list(range(20))
    assert thread_of(executor) is not current_thread()


def test_an_error_is_raised_where_the_result_is_awaited() -> None:
    future: Future[int] = executor_of(ThreadPool()).submit(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        future.result(DEADLINE_SECONDS)


def test_a_request_waits_while_all_threads_are_busy(gate: threading.Event) -> None:
    thread_pool = ThreadPool(max_threads=2)
    for _ in range(2):
        started, _ = blocked(executor_of(thread_pool), gate)
        assert started.wait(DEADLINE_SECONDS)
    started, future = blocked(executor_of(thread_pool), gate)
    assert not started.is_set()
    gate.set()
    assert future.result(DEADLINE_SECONDS)


def test_an_executor_that_keeps_its_thread_has_it_alone_until_it_is_closed() -> None:
    thread_pool = ThreadPool(max_threads=2)
    keeper = executor_of(thread_pool, keep_thread=True)
    kept_thread = thread_of(keeper)
    assert kept_thread not in {thread_of(executor_of(thread_pool)) for _ in range(10)}
    assert thread_of(keeper) is kept_thread
    keeper.close()
    both = [executor_of(thread_pool, keep_thread=True) for _ in range(2)]
    assert kept_thread in {thread_of(executor) for executor in both}


def test_a_cancelled_call_does_not_run(gate: threading.Event) -> None:
    thread_pool = ThreadPool(max_threads=2)
    for _ in range(2):
        blocked(executor_of(thread_pool), gate)
    done = list[int]()
    executor = executor_of(thread_pool)
    assert executor.submit(done.append, 1).cancel()
    last = executor.submit(done.append, 2)
    gate.set()
    last.result(DEADLINE_SECONDS)
    assert done == [2]


def test_a_request_is_refused_when_too_many_wait(gate: threading.Event) -> None:
    thread_pool = ThreadPool(max_threads=2, max_waiting=3)
    for _ in range(2):
        started, _ = blocked(executor_of(thread_pool), gate)
        assert started.wait(DEADLINE_SECONDS)
    for _ in range(3):
        executor_of(thread_pool).submit(current_thread)
    with pytest.raises(OperationalError):
        executor_of(thread_pool).submit(current_thread)


def test_an_idle_thread_ends() -> None:
    thread = thread_of(executor_of(ThreadPool(cleanup_seconds=0.01, idle_seconds=0.01)))
    thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()


@dataclass
class DatabaseConnection:
    """The attributes of Django's connections that the pool reads."""

    connection: object = None
    errors_occurred: bool = False
    in_atomic_block: bool = False
    needs_rollback: bool = False
    queries_log: list[str] = field(default_factory=list)


@pytest.mark.parametrize(
    ("keep_thread", "connection", "cleaned_up"),
    [
        (False, DatabaseConnection(), False),
        (True, DatabaseConnection(), True),
        (False, DatabaseConnection(errors_occurred=True), True),
        (False, DatabaseConnection(in_atomic_block=True), True),
    ],
    ids=["ours", "anybody's", "ours, after an error", "ours, in a transaction"],
)
def test_connections_are_cleaned_up_if_the_request_may_have_changed_their_state(
    *,
    keep_thread: bool,
    connection: DatabaseConnection,
    cleaned_up: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(db.connections, "all", lambda **_: [connection])
    cleaned = list[threading.Thread]()
    thread_pool = ThreadPool(max_threads=1, clean_up=lambda: cleaned.append(current_thread()))
    first, second = (executor_of(thread_pool, keep_thread=keep_thread) for _ in range(2))
    thread = thread_of(first)
    first.close()
    assert second.submit(lambda: thread in cleaned).result(DEADLINE_SECONDS) is cleaned_up
    second.close()


def test_a_clean_up_that_fails_does_not_end_the_thread() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    thread_pool = ThreadPool(max_threads=1, clean_up=fail)
    first, second = (executor_of(thread_pool, keep_thread=True) for _ in range(2))
    thread = thread_of(first)
    first.close()
    assert thread_of(second) is thread
    assert second.leave_pool()  # else the thread would fail once more later, within another test
    second.close()
    thread.join(DEADLINE_SECONDS)


def test_a_thread_that_leaves_the_pool_makes_room_and_ends_with_its_request() -> None:
    thread_pool = ThreadPool(max_threads=1)
    leaver, other = (executor_of(thread_pool, keep_thread=True) for _ in range(2))
    thread = thread_of(leaver)
    assert leaver.leave_pool()
    assert thread_of(other) is not thread
    assert thread_of(leaver) is thread
    leaver.close()
    thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()
    other.close()


async def test_a_request_that_waits_gets_a_thread_when_another_leaves_the_pool() -> None:
    thread_pool = ThreadPool(max_threads=1)
    leaver, waiting = (executor_of(thread_pool, keep_thread=True) for _ in range(2))
    thread_of(leaver)
    found = waiting.submit(current_thread)
    assert not found.done()
    leaver.leave_pool()
    assert found.result(DEADLINE_SECONDS).is_alive()
    leaver.close()
    waiting.close()


def test_an_executor_without_a_thread_cannot_leave_the_pool() -> None:
    thread_pool = ThreadPool()
    assert not executor_of(thread_pool, keep_thread=True).leave_pool()
    brief = executor_of(thread_pool)
    thread_of(brief)
    assert not brief.leave_pool()


def test_a_thread_that_cannot_be_started_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    executor = executor_of(ThreadPool(max_threads=1), keep_thread=True)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError):
            executor.submit(current_thread)
    assert thread_of(executor) is not current_thread()
    executor.close()

"""Lanes: few threads, each for one request at a time, and none when there is nothing to do."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass

import pytest
from django import db
from django.db import OperationalError

from notifications.asgi import threads as module
from notifications.asgi.threads import RequestExecutor, ThreadPool

DEADLINE = 10.0


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "THREADS", 2)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def here() -> threading.Thread:
    return threading.current_thread()


def held(
    executor: RequestExecutor, gate: threading.Event
) -> tuple[threading.Event, "Future[bool]"]:
    """Work that has begun, and goes on until the gate opens."""
    begun = threading.Event()

    def hold() -> bool:
        begun.set()
        return gate.wait(DEADLINE)

    return begun, executor.submit(hold)


def test_what_is_submitted_is_done_in_another_thread_in_its_order() -> None:
    executor, done = RequestExecutor(ThreadPool(), kept=False), list[int]()
    futures = [executor.submit(done.append, n) for n in range(20)]
    wait(futures, DEADLINE)
    assert done == list(range(20))
    assert executor.submit(here).result(DEADLINE) is not here()


def test_what_it_raises_is_raised_where_it_is_waited_for() -> None:
    future: Future[int] = RequestExecutor(ThreadPool(), kept=False).submit(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        future.result(DEADLINE)


def test_there_are_no_more_threads_than_that_and_the_rest_waits(gate: threading.Event) -> None:
    thread_pool = ThreadPool()
    for _ in range(2):
        begun, _ = held(RequestExecutor(thread_pool, kept=False), gate)
        assert begun.wait(DEADLINE)
    begun, future = held(RequestExecutor(thread_pool, kept=False), gate)
    assert not begun.is_set()
    gate.set()
    assert future.result(DEADLINE)


def test_a_kept_lane_has_its_thread_to_itself_until_it_is_closed() -> None:
    thread_pool = ThreadPool()
    kept = RequestExecutor(thread_pool, kept=True)
    its = kept.submit(here).result(DEADLINE)
    others = {
        RequestExecutor(thread_pool, kept=False).submit(here).result(DEADLINE) for _ in range(10)
    }
    assert its not in others
    assert kept.submit(here).result(DEADLINE) is its
    kept.close()
    both = [RequestExecutor(thread_pool, kept=True) for _ in range(2)]
    assert its in {executor.submit(here).result(DEADLINE) for executor in both}


def test_what_nobody_waits_for_any_more_is_not_done(gate: threading.Event) -> None:
    thread_pool = ThreadPool()
    for _ in range(2):
        held(RequestExecutor(thread_pool, kept=False), gate)
    done = list[int]()
    executor = RequestExecutor(thread_pool, kept=False)
    assert executor.submit(done.append, 1).cancel()
    last = executor.submit(done.append, 2)
    gate.set()
    last.result(DEADLINE)
    assert done == [2]


def test_too_many_are_refused_at_once(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    thread_pool = ThreadPool()
    for _ in range(2):
        begun, _ = held(RequestExecutor(thread_pool, kept=False), gate)
        assert begun.wait(DEADLINE)
    for _ in range(3):
        RequestExecutor(thread_pool, kept=False).submit(here)
    with pytest.raises(OperationalError):
        RequestExecutor(thread_pool, kept=False).submit(here)


def test_threads_with_nothing_to_do_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER", 0.01)
    thread = RequestExecutor(ThreadPool(), kept=False).submit(here).result(DEADLINE)
    thread.join(DEADLINE)
    assert not thread.is_alive()


@dataclass
class Connection:
    """What is asked of one of Django's."""

    connection: object = None
    errors_occurred: bool = False
    in_atomic_block: bool = False
    needs_rollback: bool = False


@pytest.mark.parametrize(
    ("kept", "left", "tidied"),
    [
        (False, Connection(), False),
        (True, Connection(), True),
        (False, Connection(errors_occurred=True), True),
        (False, Connection(in_atomic_block=True), True),
    ],
    ids=["ours", "anybody's", "ours, after an error", "ours, in a transaction"],
)
def test_connections_are_kept_where_nobody_can_have_left_anything_on_them(
    *, kept: bool, left: Connection, tidied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = list[threading.Thread]()
    monkeypatch.setattr(module, "THREADS", 1)
    monkeypatch.setattr(module, "close_old_connections", lambda: closed.append(here()))
    monkeypatch.setattr(db.connections, "all", lambda **_: [left])
    monkeypatch.setattr(module, "reset_queries", lambda: None)
    thread_pool = ThreadPool()
    first, second = RequestExecutor(thread_pool, kept=kept), RequestExecutor(thread_pool, kept=kept)
    thread = first.submit(here).result(DEADLINE)
    first.close()
    assert second.submit(lambda: thread in closed).result(DEADLINE) is tidied
    second.close()


def test_a_connection_that_cannot_be_closed_does_not_cost_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "THREADS", 1)
    monkeypatch.setattr(module, "close_old_connections", lambda: 1 // 0)
    thread_pool = ThreadPool()
    for _ in range(2):
        executor = RequestExecutor(thread_pool, kept=True)
        assert executor.submit(here).result(DEADLINE) is not here()
        executor.close()

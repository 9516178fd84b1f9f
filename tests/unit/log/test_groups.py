"""Group commit: who goes with whom, and that nobody's end is another's."""

import asyncio
import multiprocessing
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

import pytest

from notifications.errors import Unavailable
from notifications.log import groups
from notifications.log.calls import run
from notifications.log.groups import LoopGroups, ThreadGroups
from notifications.log.sections import Section, SectionReply

DEADLINE_SECONDS = 60.0
LONG_SECONDS = 60.0
"""Longer than any test: whoever waits so long has been forgotten."""


def section(name: str, *, events: int = 1, size: int = 1) -> Section:
    return Section([name], [], events, size)


def names(sections: Sequence[Section]) -> list[str]:
    return [name for each in sections for name in each.names]


class SimulatedLog:
    """Each call waits until it is answered: each section with its own name."""

    def __init__(self, timeout: float = LONG_SECONDS) -> None:
        self.calls: list[list[str]] = []
        self.called = asyncio.Semaphore(0)
        self._answers = asyncio.Queue[BaseException | None]()
        self.now = 100.0
        self.groups = LoopGroups(self._send, timeout, clock=lambda: self.now)

    async def _send(self, sections: Sequence[Section], seconds: float) -> list[SectionReply]:
        assert 0 < seconds <= LONG_SECONDS
        self.calls.append(names(sections))
        self.called.release()
        if (error := await self._answers.get()) is not None:
            raise error
        return [[name] for name in names(sections)]

    def answer(self, error: BaseException | None = None) -> None:
        self._answers.put_nowait(error)

    async def publish(self, *name: str, **fields: int) -> list[asyncio.Task[SectionReply]]:
        """Publications that have begun, one after the other."""
        tasks = []
        for each in name:
            publishing = self.groups.send(section(each, **fields), LONG_SECONDS)
            tasks.append(asyncio.create_task(publishing))
            await asyncio.sleep(0)
        return tasks


@pytest.fixture
def log() -> SimulatedLog:
    return SimulatedLog()


async def answers(tasks: Sequence[asyncio.Task[SectionReply]]) -> list[Any]:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_alone_is_sent_before_anything_else_happens(log: SimulatedLog) -> None:
    publishing = log.groups.send(section("a"), LONG_SECONDS)
    log.answer()
    assert run(publishing) == ["a"]  # it waited for nothing


async def test_those_that_come_during_a_call_go_together_and_in_order(log: SimulatedLog) -> None:
    tasks = await log.publish("a", "b", "c", "d")
    assert log.calls == [["a"]]
    log.answer()
    log.answer()
    assert await answers(tasks) == [["a"], ["b"], ["c"], ["d"]]
    assert log.calls == [["a"], ["b", "c", "d"]]


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({"events": groups.MAX_GROUP_EVENTS // 2}, 2),
        ({"size": groups.MAX_GROUP_BYTES // 3}, 3),
        ({"events": groups.MAX_GROUP_EVENTS + 1}, 1),
        ({"size": groups.MAX_GROUP_BYTES + 1}, 1),
    ],
)
async def test_a_group_has_a_bound_and_one_that_is_larger_goes_alone(
    log: SimulatedLog, fields: dict[str, int], most: int
) -> None:
    tasks = await log.publish(*"abcdefg", **fields)
    for _ in range(7):
        log.answer()
    await answers(tasks)
    assert [len(call) for call in log.calls[:3]] == [1, most, most]
    assert [name for call in log.calls for name in call] == list("abcdefg")


async def test_an_error_of_the_call_is_raised_by_each_of_its_publications(
    log: SimulatedLog,
) -> None:
    tasks = await log.publish("a", "b", "c")
    log.answer()
    log.answer(Unavailable("The log is full.", outcome="not_sent"))
    first, *failed = await answers(tasks)
    assert first == ["a"]
    assert [(str(error), error.outcome) for error in failed] == [
        ("The log is full.", "not_sent")
    ] * 2
    assert failed[0] is not failed[1]


async def test_one_that_is_cancelled_before_it_is_sent_is_left_out(log: SimulatedLog) -> None:
    tasks = await log.publish("a", "b", "c", "d")
    tasks[2].cancel()
    await asyncio.sleep(0)
    log.answer()
    log.answer()
    assert [*await answers(tasks[:2]), *await answers(tasks[3:])] == [["a"], ["b"], ["d"]]
    assert log.calls == [["a"], ["b", "d"]]


async def test_one_that_is_cancelled_after_it_was_sent_cancels_nobody(log: SimulatedLog) -> None:
    tasks = await log.publish("a", "b", "c", "d")
    log.answer()
    await answers(tasks[:1])
    assert log.calls == [["a"], ["b", "c", "d"]]
    tasks[1].cancel()
    tasks[3].cancel()
    log.answer()
    first, second, third = await answers(tasks[1:])
    assert isinstance(first, asyncio.CancelledError)
    assert second == ["c"]
    assert isinstance(third, asyncio.CancelledError)


async def test_the_first_one_that_is_cancelled_cancels_nobody(log: SimulatedLog) -> None:
    tasks = await log.publish("a", "b", "c")
    tasks[0].cancel()
    log.answer()
    assert (await answers(tasks))[1:] == [["b"], ["c"]]


@pytest.mark.parametrize("are_sent", [False, True])
async def test_one_whose_time_is_over_knows_whether_it_was_sent(
    log: SimulatedLog, are_sent: bool
) -> None:
    tasks = await log.publish("a", "b")
    late = asyncio.create_task(log.groups.send(section("late"), 0.05))
    await asyncio.sleep(0)
    if are_sent:
        log.answer()
        await answers(tasks[:1])
    log.now += 1
    [error] = await answers([late])
    assert error.outcome == ("unknown" if are_sent else "not_sent")
    for _ in range(2):
        log.answer()
    assert await answers(tasks) == [["a"], ["b"]]
    assert ("late" in log.calls[1]) == are_sent


async def test_a_call_without_an_answer_is_not_waited_for() -> None:
    log = SimulatedLog(timeout=0.1)
    tasks = await log.publish("a", "b", "c")
    log.now += 1
    async with asyncio.timeout(DEADLINE_SECONDS):
        for _ in range(2):
            await log.called.acquire()
    assert log.calls == [["a"], ["b", "c"]]
    for _ in range(2):
        log.answer()
    assert await answers(tasks) == [["a"], ["b"], ["c"]]


async def test_one_that_starts_the_call_of_others_waits_for_its_own_answer(
    log: SimulatedLog,
) -> None:
    """The group that it finds is full without it, and the call before has no answer yet."""
    tasks = await log.publish("a")
    tasks += await log.publish("large", events=groups.MAX_GROUP_EVENTS)
    log.now += LONG_SECONDS / 2
    tasks += await log.publish("b")
    assert log.calls == [["a"], ["large"]]
    for _ in range(3):
        log.answer()
    assert await answers(tasks) == [["a"], ["large"], ["b"]]
    assert log.calls == [["a"], ["large"], ["b"]]


async def test_the_end_of_the_log_ends_its_calls(log: SimulatedLog) -> None:
    tasks = await log.publish("a", "b", "c")
    log.answer()
    await answers(tasks[:1])
    async with asyncio.timeout(DEADLINE_SECONDS):
        await log.groups.close()
    assert [error.outcome for error in await answers(tasks[1:])] == ["unknown"] * 2


async def test_the_log_ends_although_a_call_has_just_ended(log: SimulatedLog) -> None:
    call = asyncio.create_task(asyncio.sleep(0))
    await call
    log.groups._tasks.add(call)
    call.add_done_callback(log.groups._tasks.discard)  # in the next turn of the loop
    async with asyncio.timeout(DEADLINE_SECONDS):
        await log.groups.close()


async def test_a_group_has_the_context_of_none_of_its_requests(log: SimulatedLog) -> None:
    tasks = await log.publish("a", "b")
    log.answer()
    await answers(tasks[:1])
    [call] = log.groups._tasks
    assert not list(call.get_context())
    log.answer()
    await answers(tasks)


# Threads


class BlockingLog:
    """`SimulatedLog` for threads."""

    def __init__(self, timeout: float = LONG_SECONDS) -> None:
        self.calls: list[list[str]] = []
        self.groups = ThreadGroups(self._send, timeout)
        self.may_answer = threading.Semaphore(0)
        self.error: BaseException | None = None

    async def _send(self, sections: Sequence[Section], seconds: float) -> list[SectionReply]:
        self.calls.append(names(sections))
        assert self.may_answer.acquire(timeout=DEADLINE_SECONDS)
        if self.error is not None:
            raise self.error
        return [[name] for name in names(sections)]

    def publish(self, name: str, seconds: float = LONG_SECONDS) -> SectionReply:
        return run(self.groups.send(section(name), seconds))

    def wait_for(self, *, calls: int = 0, waiting: int = 0) -> None:
        """Wait until so many calls have been made, and so many publications wait."""
        deadline = threading.Event()
        queue = self.groups._queue
        for _ in range(int(DEADLINE_SECONDS / 0.001)):
            if len(self.calls) >= calls and len(queue.waiting) >= waiting:
                return
            deadline.wait(0.001)
        raise AssertionError(f"{self.calls}, and {len(queue.waiting)} wait")


@pytest.fixture
def threads() -> Any:
    with ThreadPoolExecutor(20) as pool:
        yield pool


def begin(log: BlockingLog, threads: ThreadPoolExecutor, *name: str) -> list[Future[SectionReply]]:
    """Publications that have begun, one after the other; the first is under way."""
    futures = []
    for number, each in enumerate(name):
        futures.append(threads.submit(log.publish, each))
        log.wait_for(calls=1, waiting=number)
    return futures


def test_threads_that_come_during_a_call_go_together_and_in_order(
    threads: ThreadPoolExecutor,
) -> None:
    log = BlockingLog()
    futures = begin(log, threads, "a", "b", "c", "d")
    log.may_answer.release(2)
    assert [future.result(DEADLINE_SECONDS) for future in futures] == [["a"], ["b"], ["c"], ["d"]]
    assert log.calls == [["a"], ["b", "c", "d"]]
    log.may_answer.release()
    assert log.publish("e") == ["e"]


def test_a_thread_whose_time_is_over_before_it_is_sent_is_left_out(
    threads: ThreadPoolExecutor,
) -> None:
    log = BlockingLog()
    futures = begin(log, threads, "a", "b")
    with pytest.raises(Unavailable) as caught:
        log.publish("late", 0.02)
    assert caught.value.outcome == "not_sent"
    log.may_answer.release(2)
    assert [future.result(DEADLINE_SECONDS) for future in futures] == [["a"], ["b"]]
    assert log.calls == [["a"], ["b"]]


def test_a_thread_that_is_interrupted_leaves_the_others_an_answer(
    threads: ThreadPoolExecutor,
) -> None:
    """The thread that makes the call, by the signal of a key or the end of a greenlet."""
    log = BlockingLog()
    futures = begin(log, threads, "a", "b", "c")
    log.may_answer.release()
    assert futures[0].result(DEADLINE_SECONDS) == ["a"]
    log.wait_for(calls=2)
    log.error = KeyboardInterrupt()
    log.may_answer.release()
    outcomes = []
    for future in futures[1:]:
        error = future.exception(DEADLINE_SECONDS)
        outcomes.append(error.outcome if isinstance(error, Unavailable) else type(error).__name__)
    assert sorted(outcomes) == ["KeyboardInterrupt", "unknown"]
    log.error = None
    log.may_answer.release()
    assert log.publish("d") == ["d"]


def test_threads_do_not_wait_for_a_call_without_an_answer(threads: ThreadPoolExecutor) -> None:
    log = BlockingLog(timeout=0.1)
    first = threads.submit(log.publish, "a")
    log.wait_for(calls=1)
    second = threads.submit(log.publish, "b")
    log.wait_for(calls=2)
    assert log.calls == [["a"], ["b"]]
    log.may_answer.release(2)
    assert [each.result(DEADLINE_SECONDS) for each in (first, second)] == [["a"], ["b"]]


def _publish_in_child(log: BlockingLog, answer: Connection) -> None:
    log.may_answer = threading.Semaphore(1)
    answer.send(log.publish("child", DEADLINE_SECONDS))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_waits_for_no_call_of_its_parent(threads: ThreadPoolExecutor) -> None:
    log = BlockingLog()
    futures = begin(log, threads, "a", "b")
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe()
    with log.groups._queue.lock:  # as a thread that the child does not have
        child = context.Process(target=_publish_in_child, args=(log, writer))
        child.start()
    try:
        assert reader.poll(DEADLINE_SECONDS)
        assert reader.recv() == ["child"]
    finally:
        child.kill()
        child.join(DEADLINE_SECONDS)
        reader.close()
        writer.close()
    log.may_answer.release(2)
    assert [future.result(DEADLINE_SECONDS) for future in futures] == [["a"], ["b"]]

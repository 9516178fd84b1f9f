"""What a process reports: bounded, and when it is asked."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from notifications.conf import Settings
from notifications.events import Event
from notifications.hub import runtime
from notifications.hub.grants import Grant, user_subject
from notifications.hub.questions import ask
from notifications.hub.reports import (
    MAX_ENDED,
    MAX_FOUND,
    MAX_NAMES,
    Question,
    Reporter,
    subject_of,
)
from notifications.hub.runtime import Runtime
from notifications.hub.subscribers import CloseReason, Start
from notifications.log.entries import Draft, Retention
from notifications.log.memory import MemoryLog, MemoryStore
from tests.harness.fakes import FakeTransport

DEADLINE_SECONDS = 60.0


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(Retention(events=1000, bytes=10**7, age=3600))


@pytest.fixture
async def running(store: MemoryStore) -> AsyncIterator[Runtime]:
    running = Runtime(Settings(LOG="memory"), MemoryLog(store))
    assert await running.wait_ready(timeout=DEADLINE_SECONDS)
    yield running
    await running.stop()


def join(running: Runtime, *topics: str, user: int = 0) -> FakeTransport:
    transport = FakeTransport()
    subjects = (user_subject(user), "session:digest") if user else ()
    running.subscribe(Grant(topics=topics, subjects=subjects), transport, Start())
    return transport


async def test_streams_are_counted_by_topic_user_and_age(running: Runtime) -> None:
    reporter = Reporter(running)
    for user, topics in ((0, ["news"]), (1, ["news", "user.1"]), (1, ["user.1"]), (2, ["user.2"])):
        join(running, *topics, user=user)
    report = await reporter.report(Question("a"))
    assert report["answers"] == "a"
    assert report["streams"] == 4
    assert dict(report["topics"]) == {"news": 2, "user.1": 2, "user.2": 1}
    assert dict(report["users"]) == {"user:1": 2, "user:2": 1}
    assert report["ages"] == [4, 0, 0, 0, 0]
    assert report["found"] == []
    assert report["ready"]


async def test_a_question_finds_streams_that_are_open_and_those_that_ended(
    running: Runtime,
) -> None:
    reporter = Reporter(running)
    join(running, "news", user=1)
    join(running, "other", user=1)
    [gone] = running.hub.subscribed_to("news")
    running.hub.close(gone, CloseReason.KICKED)
    for subject, topics in (
        (subject_of(user="1"), [["other"], ["news"]]),
        (subject_of(topic="news"), [["news"]]),
        (subject_of(topic="absent"), []),
    ):
        found = (await reporter.report(Question("a", subject)))["found"]
        assert [stream["topics"] for stream in found] == topics
    assert found == []
    [_, ended] = (await reporter.report(Question("a", subject_of(user="1"))))["found"]
    assert ended["reason"] == "kicked"
    assert ended["users"] == ["user:1"]  # and no digest of a session
    assert ended["opened"] <= ended["ended"]


async def test_a_report_has_a_bound(running: Runtime, store: MemoryStore) -> None:
    reporter = Reporter(running)
    store.append([Draft(Event(topics=(f"t{n}",), data="x")) for n in range(500)])
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(running.hub.window) < 500:  # noqa: ASYNC110 - the hub sets no event
            await asyncio.sleep(0)
    for n in range(2_000):
        join(running, f"t{n}", "shared", *(f"t{n}.{more}" for more in range(10)), user=n + 1)
    for member in running.hub.subscribers[: MAX_ENDED + 100]:
        running.hub.close(member, CloseReason.KICKED)
    report = await reporter.report(Question("a", subject_of(topic="shared")))
    assert len(report["topics"]) == len(report["users"]) == MAX_NAMES
    assert len(report["window"]["topics"]) == MAX_NAMES
    assert len(report["found"]) == 2 * MAX_FOUND
    assert len(json.dumps(report)) < 100_000


@pytest.mark.usefixtures("own_log", "runtime_ends")
async def test_a_question_is_answered_by_each_runtime_and_ends_no_stream() -> None:
    running = runtime.start()
    assert await running.wait_ready(timeout=DEADLINE_SECONDS)
    join(running, "news", user=1)
    answers = await asyncio.to_thread(ask, subject_of(user="1"), seconds=DEADLINE_SECONDS)
    assert answers.silent == []
    [report] = answers.reports
    assert [stream["topics"] for stream in report["found"]] == [["news"]]
    assert running.hub.subscribed_to("news")


@pytest.mark.usefixtures("own_log")
def test_where_no_process_reports_a_question_has_no_answer() -> None:
    answers = ask(seconds=0.05)
    assert (answers.reports, answers.silent) == ([], [])

"""Ended streams: many are remembered, and found, by few commands."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence

import pytest

from notifications.errors import Unavailable
from notifications.hub.ended import (
    GATHER_SECONDS,
    MAX_ITERATIONS,
    MAX_STREAMS_AT_ONCE,
    EndedStreams,
)
from notifications.hub.grants import Continuable, Grant
from notifications.hub.subscribers import CloseReason
from notifications.log.ended import EndedStream, Recalled
from notifications.log.entries import Retention
from notifications.log.memory import MemoryLog, MemoryStore
from tests.harness.fakes import FakeClock

DEADLINE_SECONDS = 60.0


@pytest.fixture(autouse=True)
def longer_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a process may stand still for longer than a browser would wait."""
    monkeypatch.setattr("notifications.hub.ended.FIND_SECONDS", DEADLINE_SECONDS)


class CountingLog(MemoryLog):
    def __init__(self) -> None:
        super().__init__(MemoryStore(Retention(events=10, bytes=10**6, age=60)))
        self.commands: list[tuple[str, int]] = []
        self.is_away = False

    def _count(self, command: str, streams: int) -> None:
        self.commands.append((command, streams))
        if self.is_away:
            raise Unavailable("Redis is away.", outcome="not_sent")

    async def remember(self, ended: Mapping[str, EndedStream | None], *, seconds: float) -> None:
        await asyncio.sleep(0)
        self._count("remember", len(ended))
        await super().remember(ended, seconds=seconds)

    async def recall(self, names: Sequence[str]) -> list[Recalled | None]:
        self._count("recall", len(names))
        return await super().recall(names)


class Renewal(Continuable):
    def __init__(self, name: str | None) -> None:
        self._name = name

    async def __call__(self) -> Grant | None:
        return None

    def name(self) -> str | None:
        return self._name

    def ended(self, name: str, grant: Grant, *, age: float) -> EndedStream | None:
        assert grant.as_of is not None
        return EndedStream(name, grant.as_of, grant.subjects, str(age))


class Scene:
    def __init__(self, *, age: float = 60.0) -> None:
        self.log = CountingLog()
        self.clock = FakeClock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.ended = EndedStreams(self.log, age=age, clock=self.clock, spawn=self._spawn)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.add(asyncio.create_task(work))

    async def end(self, *names: str | None, reason: CloseReason = CloseReason.DRAINING) -> None:
        as_of = await self.log.state()
        for name in names:
            grant = Grant(topics=("t",), subjects=("user:5",), as_of=as_of, renew=Renewal(name))
            self.ended.add(grant, self.clock(), reason)

    async def found(self, name: str) -> bool:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.ended.find(name) is not None


async def test_what_ends_or_returns_at_once_is_one_command() -> None:
    scene = Scene()
    names = [f"{number:04x}" for number in range(MAX_STREAMS_AT_ONCE)]
    await scene.end(*names)
    found = await asyncio.gather(*map(scene.found, names), scene.found("missing"))
    assert found == [True] * len(names) + [False]
    assert scene.log.commands == [
        *(("remember", len(names)), ("recall", len(names))),
        ("recall", 1),  # the one that is more than a command takes
    ]


@pytest.mark.parametrize("reason", list(CloseReason))
async def test_only_an_interruption_is_remembered(reason: CloseReason) -> None:
    is_interruption = reason in {
        *(CloseReason.CLIENT_LEFT, CloseReason.WRITE_FAILED, CloseReason.TOO_SLOW),
        *(CloseReason.FELL_BEHIND, CloseReason.TOO_OLD),
        *(CloseReason.DRAINING, CloseReason.STOPPING),
    }
    scene = Scene()
    await scene.end("ab12", reason=CloseReason.CLIENT_LEFT)
    await scene.ended.flush()
    await scene.end("ab12", reason=reason)
    assert await scene.found("ab12") == is_interruption
    await scene.ended.flush()
    assert (await scene.log.recall(["ab12"]) != [None]) == is_interruption  # by other processes too


async def test_streams_that_cannot_go_on_cost_no_command() -> None:
    scene = Scene()
    await scene.end(None)
    await scene.ended.flush()
    off = Scene(age=0)
    await off.end("ab12")
    await off.ended.flush()
    assert scene.log.commands == off.log.commands == []


async def test_while_redis_is_away_nothing_is_found_and_nobody_waits_for_ever() -> None:
    scene = Scene()
    scene.log.is_away = True
    await scene.end("ab12")
    assert not await scene.found("ab12")
    scene.log.is_away = False
    assert not await scene.found("ab12")
    await scene.end("ab12")
    assert await scene.found("ab12")


async def test_two_tabs_find_the_same_and_one_that_leaves_takes_nothing_from_the_other() -> None:
    scene = Scene()
    await scene.end("ab12")
    one, other = (asyncio.create_task(scene.found("ab12")) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    assert await other
    assert ("recall", 1) in scene.log.commands


async def test_questions_that_come_one_after_the_other_are_one_command() -> None:
    scene = Scene()
    await scene.end(*"abc")
    await scene.ended.flush()
    scene.log.commands.clear()
    questions = []
    for name in "abc":
        questions.append(asyncio.create_task(scene.found(name)))
        await asyncio.sleep(0)
    assert await asyncio.gather(*questions) == [True] * 3
    assert scene.log.commands == [("recall", 3)]


async def test_what_ends_while_questions_gather_is_known_before_they_are_asked() -> None:
    scene = Scene()
    await scene.end("a", "b")
    await scene.ended.flush()
    scene.log.commands.clear()
    questions = [asyncio.create_task(scene.found(name)) for name in "ab"]
    await asyncio.sleep(0)  # they have asked
    await scene.end("a", reason=CloseReason.PERMISSION_ENDED)
    assert await asyncio.gather(*questions) == [False, True]
    assert scene.log.commands == [("remember", 1), ("recall", 2)]


async def test_what_ends_while_the_log_is_asked_is_not_found() -> None:
    scene = Scene()
    await scene.end("a")
    await scene.ended.flush()
    recall = scene.log.recall

    async def end_and_recall(names: Sequence[str]) -> list[Recalled | None]:
        recalled = await recall(names)
        await scene.end("a", reason=CloseReason.PERMISSION_ENDED)
        return recalled

    scene.log.recall = end_and_recall  # type: ignore[method-assign]
    assert not await scene.found("a")


async def test_questions_that_never_end_are_asked_all_the_same() -> None:
    scene, questions = Scene(), list[asyncio.Task[bool]]()
    while not scene.log.commands:
        questions.append(asyncio.create_task(scene.found(str(len(questions)))))
        await asyncio.sleep(0)
    assert len(questions) < 3 * MAX_ITERATIONS
    await asyncio.gather(*questions)


async def test_where_the_loop_is_slow_questions_do_not_gather_for_long() -> None:
    scene = Scene()
    question = asyncio.create_task(scene.found("a"))
    for number in range(4):
        await asyncio.sleep(0)
        scene.clock.now += GATHER_SECONDS
        asyncio.create_task(scene.found(str(number)))  # noqa: RUF006
    await question
    assert scene.log.commands[0][1] <= 3

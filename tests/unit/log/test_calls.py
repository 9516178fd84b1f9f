"""The core of the log in Redis, against a server that is a list of replies, in virtual time."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
from redis.exceptions import (
    AskError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as ConnectionFailed
from redis.exceptions import TimeoutError as TimedOut

from notifications.errors import Unavailable
from notifications.events import Event
from notifications.log.acks import HighWaterMarks
from notifications.log.calls import LEAST_SECONDS, REDIRECTED_PAUSE_SECONDS, RedisCalls, run
from notifications.log.cursors import Cursor, parse_position
from notifications.log.entries import Draft, Retention
from notifications.log.groups import ThreadGroups
from notifications.log.layout import NOTHING_KEPT
from notifications.log.script import Command

TIMEOUT_SECONDS = 1.0
STATE = [b"0123456789ab", b"5-0"]
KEPT = [[b"kept", b"0123456789ab", [b"7-0"]]]


@dataclass(eq=False)
class SimulatedConnection:
    host: str = "one"
    port: int = 1


class SimulatedCalls(RedisCalls[SimulatedConnection]):
    """Each exchange takes the next of the replies, or raises it; `pauses` were slept."""

    def __init__(self, *replies: Any, url: str = "redis://one", **options: Any) -> None:
        self.now = 100.0
        self.replies = list(replies)
        self.commands: list[Command] = []
        self.timeouts: list[float] = []
        self.pauses: list[float] = []
        self.held = self.dropped = 0
        super().__init__(
            url,
            prefix="test",
            retention=Retention(events=10, bytes=1000, age=60),
            timeout=TIMEOUT_SECONDS,
            marks=options.pop("marks", HighWaterMarks()),
            clock=lambda: self.now,
            uniform=lambda low, high: (low + high) / 2,
            token=lambda size: "ab" * size,
            **options,
        )
        self._groups = ThreadGroups(self._append, TIMEOUT_SECONDS, clock=lambda: self.now)

    async def _acquire(self, seconds: float) -> SimulatedConnection:
        connection = SimulatedConnection()
        await self._greet(connection)
        self.held += 1
        return connection

    async def _release(self, connection: SimulatedConnection) -> None:
        self.held -= 1

    async def _drop(self, connection: SimulatedConnection) -> None:
        self.dropped += 1

    async def _exchange(
        self, connection: SimulatedConnection, command: Command, timeout: float
    ) -> Any:
        self.commands.append(command)
        self.timeouts.append(timeout)
        reply = self.replies.pop(0)
        if isinstance(reply, TimedOut):
            self.now += timeout
        if isinstance(reply, BaseException):
            raise reply
        return reply

    def _within(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return nullcontext()

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def drafts() -> list[Draft]:
    return [Draft(Event(topics=("t",), data="a"))]


def refused(call: Callable[[], object]) -> str | None:
    """The outcome of a call that must fail."""
    with pytest.raises(Unavailable) as caught:
        call()
    return caught.value.outcome


def test_an_append_that_was_refused_is_not_tried_again() -> None:
    calls = SimulatedCalls(ResponseError(f"OOM{NOTHING_KEPT}"))
    assert refused(lambda: run(calls.append(drafts()))) == "not_sent"
    assert (calls.pauses, calls.held) == ([], 0)


def test_an_append_in_doubt_stays_in_doubt_when_a_later_attempt_is_refused() -> None:
    calls = SimulatedCalls(
        ConnectionFailed("cut"), ResponseError(f"OOM{NOTHING_KEPT}"), TimedOut("slow")
    )
    assert refused(lambda: run(calls.append(drafts()))) == "unknown"
    assert calls.replies == []
    first, second, third = calls.commands
    assert first != second == third


def test_an_append_is_repeated_until_the_next_pause_would_pass_its_deadline() -> None:
    calls = SimulatedCalls(*[ConnectionFailed("cut")] * 20)
    assert refused(lambda: run(calls.append(drafts()))) == "unknown"
    assert calls.pauses[:4] == [0.02, 0.04, 0.08, 0.16]
    assert calls.now < 100 + TIMEOUT_SECONDS
    assert calls.timeouts == sorted(calls.timeouts, reverse=True)
    assert min(calls.timeouts) >= LEAST_SECONDS


def test_an_append_whose_repetition_is_acknowledged_is_noted() -> None:
    calls = SimulatedCalls(ConnectionFailed("cut"), KEPT, STATE, KEPT)
    [receipt] = run(calls.append(drafts()))
    assert receipt.cursor == Cursor("0123456789ab", parse_position(b"7-0"))
    run(calls.append(drafts()))
    greeting = calls.commands[2]
    assert b"7-0" in greeting or "7-0" in greeting


@pytest.mark.parametrize("error", [MovedError("1 b:2"), AskError("1 b:2"), TryAgainError("later")])
def test_a_redirected_command_is_sent_again_until_the_deadline(error: ResponseError) -> None:
    calls = SimulatedCalls(error, error, STATE)
    assert run(calls.state()).epoch == "0123456789ab"
    assert calls.pauses == [REDIRECTED_PAUSE_SECONDS] * 2
    assert calls.held == 0
    calls = SimulatedCalls(*[error] * 100)
    assert refused(lambda: run(calls.state())) == "not_sent"
    assert 100 + TIMEOUT_SECONDS <= calls.now < 101 + TIMEOUT_SECONDS


def test_a_server_without_the_script_gets_it() -> None:
    calls = SimulatedCalls(NoScriptError("NOSCRIPT"), STATE)
    run(calls.state())
    assert [command[0] for command in calls.commands] == ["EVALSHA", "EVAL"]


@pytest.mark.parametrize("first", [[], [NoScriptError("NOSCRIPT")]])
def test_a_connection_to_a_server_that_is_no_master_any_more_is_dropped(first: list[Any]) -> None:
    calls = SimulatedCalls(*first, ReadOnlyError(f"READONLY{NOTHING_KEPT}"))
    assert refused(lambda: run(calls.state())) == "not_sent"
    assert (calls.dropped, calls.held) == (1, 0)


def test_a_server_that_sentinel_names_and_is_a_replica_gets_no_command() -> None:
    calls = SimulatedCalls([b"slave"], url="redis+sentinel://one/main")
    assert refused(lambda: run(calls.append(drafts()))) == "not_sent"
    assert [list(command) for command in calls.commands] == [["ROLE"]]


def test_too_few_replicas_leave_the_outcome_unknown_and_are_asked_again() -> None:
    calls = SimulatedCalls(KEPT, 0, KEPT, 1, replicas=1)
    run(calls.append(drafts()))
    assert [command[0] for command in calls.commands] == ["EVALSHA", "WAIT"] * 2


def test_names_and_time_come_from_outside() -> None:
    one, other = SimulatedCalls(STATE), SimulatedCalls(STATE)
    for calls in (one, other):
        run(calls.state())
    assert one.commands == other.commands


def test_a_coroutine_that_waits_for_a_loop_is_refused() -> None:
    waiting = asyncio.sleep(1)
    with pytest.raises(RuntimeError, match="event loop"):
        run(waiting)
    waiting.close()

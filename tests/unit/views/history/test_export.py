"""Exports: what is missing is said, and what cannot be sent is not taken for the end."""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from types import TracebackType
from typing import Any

import pytest

from notifications.conf import Settings
from notifications.errors import Unavailable
from notifications.hub import runtime
from notifications.hub.grants import Grant
from notifications.hub.subscribers import CloseReason
from notifications.log.base import (
    Batch,
    Control,
    Draft,
    Gap,
    Log,
    Order,
    Receipt,
    ResetReason,
)
from notifications.log.cursors import START, Cursor, Position, position
from notifications.log.factory import open_log
from notifications.publishing.publisher import build
from notifications.views.history.export import Cut, Export, Page, Signal
from notifications.views.history.permission import GrantWatch
from tests.harness.fakes import EPOCH, batch, entry
from tests.harness.history import fill
from tests.harness.servers import RedisServer

DEADLINE = 20.0
GRANT = Grant(topics=("t",))


class Script(Log):
    """A log that says what it is told to: batches, or that it is away."""

    def __init__(self, *said: Batch | Unavailable | Any) -> None:
        self.said = list(said)
        self.asked: list[Position] = []
        self.epoch = EPOCH

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    async def state(self) -> Cursor:
        return Cursor(self.epoch, position(10))

    async def append(self, drafts: Any) -> list[Receipt]:
        raise NotImplementedError

    async def read(self, *, until: Position, after: Position = START) -> AsyncGenerator[Batch]:
        self.asked.append(after)
        while self.said:
            said = self.said.pop(0)
            if isinstance(said, Unavailable):
                raise said
            if callable(said):
                said()
                continue
            yield said

    async def tail(self, after: Cursor) -> AsyncGenerator[Batch | Gap]:
        raise NotImplementedError
        yield

    async def ping(self) -> None:
        raise NotImplementedError


def away() -> Unavailable:
    return Unavailable("away", outcome="not_sent")


def export(log: Log, *, after: int = 0, until: int = 10, grant: Grant = GRANT) -> Export:
    ends = Cursor(EPOCH, position(after)), Cursor(EPOCH, position(until))
    return Export(log, grant, *ends, patience=0.0)


async def said(given: Export, grant_watch: GrantWatch | None = None) -> list[str]:
    """The times of the events, and the signals, until the end or the cut."""
    found: list[str] = []
    grant_watch = grant_watch or GrantWatch(given.grant, max_age=600)
    try:
        async with asyncio.timeout(DEADLINE):
            async for each in given.pages(grant_watch):
                if isinstance(each, Page):
                    found += [event.data.decode() for event in each.entries]
                else:
                    found.append(f"{each.name}: {each.reason}")
    except Cut:
        found.append("cut")
    return found


async def test_a_log_without_holes_is_read_to_its_end() -> None:
    log = Script(batch(0, entry(1), entry(2)), batch(2, entry(10)))
    assert await said(export(log)) == ["1", "2", "10"]


async def test_whom_an_event_passes_over_finds_it_in_no_file_either() -> None:
    passing = replace(entry(2), skip=frozenset({"user:5"}))
    log = Script(batch(0, entry(1), passing, entry(10)))
    grant = Grant(topics=("t",), subjects=("user:5", "session:x"))
    assert await said(export(log, grant=grant)) == ["1", "10"]
    log = Script(batch(0, entry(1), passing, entry(10)))
    assert await said(export(log, grant=Grant(topics=("t",)))) == ["1", "2", "10"]


async def test_a_hole_is_told_where_it_is() -> None:
    log = Script(batch(0, entry(1), entry(2)), batch(5, entry(10)))
    assert await said(export(log)) == ["1", "2", "reset: trimmed", "10"]


async def test_a_hole_at_the_beginning_is_told() -> None:
    assert await said(export(Script(batch(5, entry(10))), after=2)) == ["reset: trimmed", "10"]


async def test_a_cursor_between_two_events_is_no_hole() -> None:
    assert await said(export(Script(batch(1, entry(10))), after=2)) == ["10"]


@pytest.mark.parametrize(("epoch", "reason"), [(EPOCH, "trimmed"), ("ba9876543210", "log_lost")])
async def test_a_hole_at_the_end_is_told(epoch: str, reason: str) -> None:
    log = Script(batch(0, entry(1)))
    log.epoch = epoch
    assert await said(export(log)) == ["1", f"reset: {reason}"]


async def test_what_was_missing_before_is_told_first() -> None:
    given = replace(export(Script(batch(0, entry(10)))), missing=ResetReason.UNKNOWN)
    assert await said(given) == ["reset: unknown", "10"]


async def test_a_log_that_is_away_for_a_moment_is_asked_again_from_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("notifications.views.history.export.PAUSE", 0.0)
    log = Script(batch(0, entry(1)), away(), away(), batch(1, entry(10)))
    assert await said(replace(export(log), patience=DEADLINE)) == ["1", "10"]
    assert log.asked == [position(0), position(1), position(1)]


async def test_a_log_that_stays_away_is_told_and_the_rest_is_cut() -> None:
    log = Script(batch(0, entry(1)), away())
    assert await said(export(log)) == ["1", "closing: log_away", "cut"]


async def test_whose_permission_ends_gets_no_more() -> None:
    def kicked() -> None:
        for heed in list(runtime.control_observers):
            heed(Control(Order.END, ("topic:t",), CloseReason.KICKED))

    log = Script(batch(0, entry(1)), kicked, batch(1, entry(10)))
    before = list(runtime.control_observers)
    assert await said(export(log)) == ["1", "closing: kicked", "cut"]
    assert runtime.control_observers == before


async def test_orders_about_others_change_nothing() -> None:
    def kicked() -> None:
        for heed in list(runtime.control_observers):
            heed(Control(Order.END, ("topic:u", "user:5"), CloseReason.KICKED))

    log = Script(batch(0, entry(1)), kicked, batch(1, entry(10)))
    assert await said(export(log)) == ["1", "10"]


async def test_whoever_is_to_be_asked_again_is() -> None:
    answers: list[Grant | None] = []

    async def renew() -> Grant | None:
        return answers.pop(0)

    def recheck() -> None:
        for heed in list(runtime.control_observers):
            heed(Control(Order.RECHECK, ("user:5",), ""))

    grant = Grant(topics=("t",), subjects=("user:5",), renew=renew)
    answers = [grant, None]
    pieces = [batch(0, entry(1)), recheck, batch(1, entry(2)), recheck, batch(2, entry(10))]
    assert await said(export(Script(*pieces), grant=grant)) == [
        "1",
        "2",
        "closing: permission_ended",
        "cut",
    ]


async def test_a_permission_for_a_time_ends_in_time() -> None:
    grant = Grant(topics=("t",), until=time.time() - 1)
    log = Script(batch(0, entry(10)))
    assert await said(export(log, grant=grant)) == ["closing: expired", "cut"]


async def test_who_cannot_be_asked_about_is_served_for_a_while_and_not_for_ever() -> None:
    async def renew() -> Grant | None:
        raise OSError("no database")

    grant = Grant(topics=("t",), renew=renew)
    patient, strict = GrantWatch(grant, max_age=600), GrantWatch(grant, max_age=-1)
    patient._due = 0.0
    pieces = [batch(0, entry(10))]
    assert await said(export(Script(*pieces), grant=grant), patient) == ["10"]
    assert await said(export(Script(*pieces), grant=grant), strict) == [
        "closing: user_unknown",
        "cut",
    ]


@pytest.mark.parametrize("deed", ["trim", "flush"])
async def test_a_real_log_that_loses_what_is_being_read_is_told_of(
    redis: RedisServer, deed: str
) -> None:
    async with open_log(Settings(REDIS_URL=redis.url)) as log:
        await log.append([Draft(build("t", "first"))])
        with redis.client() as client:
            fill(client, "t", 5_000)
            until = await log.state()
            given = Export(log, GRANT, Cursor(until.epoch, START), until)
            signals: list[Signal] = []
            rows = 0
            async for each in given.pages(GrantWatch(GRANT, max_age=600)):
                if isinstance(each, Signal):
                    signals.append(each)
                    continue
                if not rows:
                    if deed == "trim":
                        client.xtrim("{carillon}:log", maxlen=1_000, approximate=False)
                    else:
                        client.flushall()
                rows += len(each.entries)
    reason = {"trim": ResetReason.TRIMMED, "flush": ResetReason.LOG_LOST}[deed]
    assert [signal.reason for signal in signals] == [reason]
    assert (rows > 1_000) == (deed == "trim")
    assert rows < 5_000

"""Exports: missing events are reported, and an interruption cannot be taken for the end."""

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
from notifications.log.base import Log
from notifications.log.cursors import START, Cursor, Position, make_position
from notifications.log.ended import Recalled
from notifications.log.entries import (
    Batch,
    ControlAction,
    ControlEntry,
    Draft,
    Gap,
    Receipt,
    ResetReason,
)
from notifications.log.factory import open_log
from notifications.publishing.publisher import build_event
from notifications.views.history.export import Export, ExportInterrupted, ExportSignal, Page
from notifications.views.history.permission import GrantWatch
from tests.harness.fakes import EPOCH, batch, entry
from tests.harness.history import fill
from tests.harness.servers import RedisServer

DEADLINE_SECONDS = 60.0
GRANT = Grant(topics=("t",))


class ScriptedLog(Log):
    """A log whose reads follow a script: batches, errors to raise, and functions to call."""

    def __init__(self, *steps: Batch | Unavailable | Any) -> None:
        self.steps = list(steps)
        self.read_after: list[Position] = []
        self.epoch = EPOCH

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    async def state(self) -> Cursor:
        return Cursor(self.epoch, make_position(10))

    async def append(self, drafts: Any) -> list[Receipt]:
        raise NotImplementedError

    async def report(self, process: str, text: str, *, at: float, seconds: float) -> None:
        raise NotImplementedError

    async def remember(self, ended: Any, *, seconds: float) -> None:
        raise NotImplementedError

    async def recall(self, names: Any) -> list[Recalled | None]:
        raise NotImplementedError

    async def read(self, *, until: Position, after: Position = START) -> AsyncGenerator[Batch]:
        self.read_after.append(after)
        while self.steps:
            step = self.steps.pop(0)
            if isinstance(step, Unavailable):
                raise step
            if callable(step):
                step()
                continue
            yield step

    async def tail(self, after: Cursor) -> AsyncGenerator[Batch | Gap]:
        raise NotImplementedError
        yield

    async def ping(self) -> None:
        raise NotImplementedError


def away() -> Unavailable:
    return Unavailable("away", outcome="not_sent")


def make_export(log: Log, *, after: int = 0, until: int = 10, grant: Grant = GRANT) -> Export:
    ends = Cursor(EPOCH, make_position(after)), Cursor(EPOCH, make_position(until))
    return Export(log, grant, *ends, retry_seconds=0.0)


async def rows(export: Export, grant_watch: GrantWatch | None = None) -> list[str]:
    """The data of the events, and the signals, until the end or an interruption."""
    rows: list[str] = []
    grant_watch = grant_watch or GrantWatch(export.grant, max_age=600)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            async for page in export.pages(grant_watch):
                if isinstance(page, Page):
                    rows += [entry.data.decode() for entry in page.entries]
                else:
                    rows.append(f"{page.name}: {page.reason}")
    except ExportInterrupted:
        rows.append("interrupted")
    return rows


async def test_a_log_without_holes_is_read_to_its_end() -> None:
    log = ScriptedLog(batch(0, entry(1), entry(2)), batch(2, entry(10)))
    assert await rows(make_export(log)) == ["1", "2", "10"]


async def test_an_event_that_skips_a_user_is_in_no_export_of_theirs() -> None:
    skipping = replace(entry(2), skip=frozenset({"user:5"}))
    log = ScriptedLog(batch(0, entry(1), skipping, entry(10)))
    grant = Grant(topics=("t",), subjects=("user:5", "session:x"))
    assert await rows(make_export(log, grant=grant)) == ["1", "10"]
    log = ScriptedLog(batch(0, entry(1), skipping, entry(10)))
    assert await rows(make_export(log, grant=Grant(topics=("t",)))) == ["1", "2", "10"]


async def test_a_hole_is_reported_where_it_is() -> None:
    log = ScriptedLog(batch(0, entry(1), entry(2)), batch(5, entry(10)))
    assert await rows(make_export(log)) == ["1", "2", "reset: trimmed", "10"]


async def test_a_hole_at_the_start_is_reported() -> None:
    assert await rows(make_export(ScriptedLog(batch(5, entry(10))), after=2)) == [
        "reset: trimmed",
        "10",
    ]


async def test_a_cursor_between_two_events_is_no_hole() -> None:
    assert await rows(make_export(ScriptedLog(batch(1, entry(10))), after=2)) == ["10"]


@pytest.mark.parametrize(("epoch", "reason"), [(EPOCH, "trimmed"), ("ba9876543210", "log_lost")])
async def test_a_hole_at_the_end_is_reported(epoch: str, reason: str) -> None:
    log = ScriptedLog(batch(0, entry(1)))
    log.epoch = epoch
    assert await rows(make_export(log)) == ["1", f"reset: {reason}"]


async def test_events_missing_before_the_start_are_reported_first() -> None:
    incomplete = replace(make_export(ScriptedLog(batch(0, entry(10)))), missing=ResetReason.UNKNOWN)
    assert await rows(incomplete) == ["reset: unknown", "10"]


async def test_a_log_that_is_away_for_a_moment_is_read_again_from_the_last_position() -> None:
    log = ScriptedLog(batch(0, entry(1)), away(), away(), batch(1, entry(10)))
    patient = replace(make_export(log), retry_seconds=DEADLINE_SECONDS, pause_seconds=0.0)
    assert await rows(patient) == ["1", "10"]
    assert log.read_after == [make_position(0), make_position(1), make_position(1)]


async def test_a_log_that_stays_away_interrupts_the_export_and_is_reported() -> None:
    log = ScriptedLog(batch(0, entry(1)), away())
    assert await rows(make_export(log)) == ["1", "closing: log_away", "interrupted"]


async def test_an_export_is_interrupted_when_its_permission_ends() -> None:
    def kicked() -> None:
        for observe in list(runtime.control_observers):
            observe(ControlEntry(ControlAction.END, ("topic:t",), CloseReason.KICKED))

    log = ScriptedLog(batch(0, entry(1)), kicked, batch(1, entry(10)))
    before = list(runtime.control_observers)
    assert await rows(make_export(log)) == ["1", "closing: kicked", "interrupted"]
    assert runtime.control_observers == before


async def test_control_entries_about_others_change_nothing() -> None:
    def kicked() -> None:
        for observe in list(runtime.control_observers):
            observe(ControlEntry(ControlAction.END, ("topic:u", "user:5"), CloseReason.KICKED))

    log = ScriptedLog(batch(0, entry(1)), kicked, batch(1, entry(10)))
    assert await rows(make_export(log)) == ["1", "10"]


async def test_a_control_entry_rechecks_the_grant() -> None:
    outcomes: list[Grant | None] = []

    async def renew() -> Grant | None:
        return outcomes.pop(0)

    def recheck() -> None:
        for observe in list(runtime.control_observers):
            observe(ControlEntry(ControlAction.RECHECK, ("user:5",), ""))

    grant = Grant(topics=("t",), subjects=("user:5",), renew=renew)
    outcomes = [grant, None]
    steps = [batch(0, entry(1)), recheck, batch(1, entry(2)), recheck, batch(2, entry(10))]
    assert await rows(make_export(ScriptedLog(*steps), grant=grant)) == [
        "1",
        "2",
        "closing: permission_ended",
        "interrupted",
    ]


async def test_a_permission_that_expires_interrupts_the_export() -> None:
    grant = Grant(topics=("t",), until=time.time() - 1)
    log = ScriptedLog(batch(0, entry(10)))
    assert await rows(make_export(log, grant=grant)) == ["closing: expired", "interrupted"]


async def test_a_user_who_cannot_be_read_is_served_for_a_while_but_not_for_ever() -> None:
    async def renew() -> Grant | None:
        raise OSError("no database")

    grant = Grant(topics=("t",), renew=renew)
    patient, strict = GrantWatch(grant, max_age=600), GrantWatch(grant, max_age=-1)
    patient._due = 0.0
    steps = [batch(0, entry(10))]
    assert await rows(make_export(ScriptedLog(*steps), grant=grant), patient) == ["10"]
    assert await rows(make_export(ScriptedLog(*steps), grant=grant), strict) == [
        "closing: user_unknown",
        "interrupted",
    ]


@pytest.mark.parametrize("loss", ["trim", "flush"])
async def test_events_that_a_real_log_loses_during_an_export_are_reported(
    redis: RedisServer, loss: str
) -> None:
    async with open_log(Settings(REDIS_URL=redis.url)) as log:
        await log.append([Draft(build_event("t", "first"))])
        with redis.client() as client:
            fill(client, "t", 5_000)
            until = await log.state()
            export = Export(log, GRANT, Cursor(until.epoch, START), until)
            signals: list[ExportSignal] = []
            count = 0
            async for page in export.pages(GrantWatch(GRANT, max_age=600)):
                if isinstance(page, ExportSignal):
                    signals.append(page)
                    continue
                if not count:
                    if loss == "trim":
                        client.xtrim("{carillon}:log", maxlen=1_000, approximate=False)
                    else:
                        client.flushall()
                count += len(page.entries)
    reason = {"trim": ResetReason.TRIMMED, "flush": ResetReason.LOG_LOST}[loss]
    assert [signal.reason for signal in signals] == [reason]
    assert (count > 1_000) == (loss == "trim")
    assert count < 5_000

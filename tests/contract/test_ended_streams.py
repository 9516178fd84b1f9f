"""Every log remembers ended streams, and answers only what no control entry has touched since."""

from dataclasses import replace

import pytest

from notifications.log.base import Log
from notifications.log.cursors import Cursor
from notifications.log.ended import EndedStream, Recalled
from notifications.log.entries import EVERYONE, ControlAction, ControlEntry
from notifications.log.memory import MemoryLog, MemoryStore
from tests.contract.test_log import (
    RETENTION,
    Makers,
    drafts,
    logs,
    makers,
    session_cluster,
    session_sentinel,
    session_valkey,
)

__all__ = ["logs", "makers", "session_cluster", "session_sentinel", "session_valkey"]

SECONDS = 60.0
SUBJECTS = ("user:5", "session:abc", "topic:news", EVERYONE)


def stream(as_of: Cursor, name: str = "ab12", body: str = "signature.{}") -> EndedStream:
    return EndedStream(name, as_of, SUBJECTS, body)


def control(*subjects: str, namespace: str = "") -> ControlEntry:
    return ControlEntry(ControlAction.RECHECK, subjects, "", namespace=namespace)


async def recalled(log: Log, name: str = "ab12") -> EndedStream | None:
    [found] = await log.recall([name])
    if found is not None:
        assert 0 < found.left <= SECONDS
    return None if found is None else found.stream


async def remembered(log: Log) -> EndedStream:
    ended = stream(await log.state())
    await log.remember({ended.name: ended}, seconds=SECONDS)
    return ended


async def test_an_ended_stream_is_found_by_its_name_and_by_others(logs: tuple[Log, Log]) -> None:
    sender, receiver = logs
    ended = await remembered(sender)
    other = stream(ended.as_of, "cd34", "signature.{other}")
    await sender.remember({other.name: other}, seconds=SECONDS)
    first, missing, second = await receiver.recall(["ab12", "ef56", "cd34"])
    assert isinstance(first, Recalled)
    assert isinstance(second, Recalled)
    assert (first.stream, missing, second.stream) == (ended, None, other)
    assert await recalled(receiver) == ended  # another tab of the same browser


async def test_what_is_forgotten_is_not_found(logs: tuple[Log, Log]) -> None:
    sender, receiver = logs
    ended = await remembered(sender)
    other = replace(ended, name="cd34")
    await sender.remember({ended.name: None, other.name: other}, seconds=SECONDS)
    assert await recalled(receiver) is None
    assert await recalled(receiver, "cd34") == other


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_a_control_entry_of_a_subject_ends_it(makers: Makers, subject: str) -> None:
    make, sync_log = makers
    async with make() as log:
        await remembered(log)
        sync_log.append_control(control(subject))
        assert await recalled(log) is None
        # A stream that was decided after that entry is another one.
        assert await remembered(log) == await recalled(log)


async def test_control_entries_of_others_leave_it(makers: Makers) -> None:
    make, sync_log = makers
    async with make() as log:
        sync_log.append_control(control("user:5"))
        ended = await remembered(log)
        for subject in ("user:6", "session:abcd", "topic:new"):
            sync_log.append_control(control(subject))
        sync_log.append_control(control("user:5", namespace="acme"))
        sync_log.append_control(control(EVERYONE, namespace="acme"))
        await log.append(drafts("one", "two"))
        assert await recalled(log) == ended


async def test_many_subjects_of_one_control_entry_all_count(makers: Makers) -> None:
    make, sync_log = makers
    async with make() as log:
        state = await log.state()
        names = [f"{number:04x}" for number in range(3)]
        numbers = (0, 1_000, 2_499)
        subjects = {name: (f"user:{number}",) for name, number in zip(names, numbers, strict=True)}
        ended = {name: EndedStream(name, state, subjects[name], "body") for name in names}
        await log.remember(ended, seconds=SECONDS)
        assert None not in await log.recall(names)
        sync_log.append_control(control(*(f"user:{number}" for number in range(2_500))))
        assert await log.recall(names) == [None, None, None]


async def test_an_ended_stream_of_another_epoch_is_not_found(logs: tuple[Log, Log]) -> None:
    sender, receiver = logs
    state = await sender.state()
    ended = stream(Cursor("0123456789ab", state.position))
    await sender.remember({ended.name: ended}, seconds=SECONDS)
    assert await recalled(receiver) is None


async def test_positions_are_compared_and_not_times(makers: Makers) -> None:
    """A control entry within a millisecond is after the events before it, and before the others."""
    make, sync_log = makers
    async with make() as log:
        [before, *_] = await log.append(drafts(*map(str, range(20))))
        sync_log.append_control(control("user:5"))
        [after] = await log.append(drafts("after"))
        for receipt, is_found in ((before, False), (after, True)):
            ended = stream(receipt.cursor)
            await log.remember({ended.name: ended}, seconds=SECONDS)
            assert (await recalled(log) is not None) == is_found


async def test_memory_forgets_ended_streams_in_time() -> None:
    now = 0.0
    log = MemoryLog(MemoryStore(RETENTION, clock=lambda: now))
    await remembered(log)
    now = SECONDS - 1
    assert await recalled(log) is not None
    now = SECONDS
    assert await recalled(log) is None

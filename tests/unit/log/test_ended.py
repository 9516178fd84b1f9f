"""Ended streams in Redis: where the set of revocations is incomplete, nothing is answered."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from notifications.errors import Unavailable
from notifications.log import script
from notifications.log.acks import HighWaterMarks
from notifications.log.ended import EndedStream
from notifications.log.entries import ControlAction, ControlEntry, Retention
from notifications.log.redis import RedisLog
from tests.harness.raw_log import header, raw_entries
from tests.harness.servers import RedisServer

KEYS = script.Keys("ended")
RETENTION = Retention(events=1000, bytes=10**7, age=3600)


@pytest.fixture
def client(redis: RedisServer) -> Redis:
    return redis.client()


def log_at(redis: RedisServer, retention: Retention = RETENTION) -> RedisLog:
    options: dict[str, Any] = {"prefix": "ended", "retention": retention, "timeout": 5}
    return RedisLog(redis.url, marks=HighWaterMarks(), **options)


@pytest.fixture
async def log(redis: RedisServer) -> AsyncIterator[RedisLog]:
    async with log_at(redis) as log:
        yield log


async def control(log: RedisLog, subject: str) -> None:
    await log.append_control(ControlEntry(ControlAction.RECHECK, (subject,), ""))


async def remembered(log: RedisLog, name: str = "ab12", subject: str = "user:5") -> str:
    stream = EndedStream(name, await log.state(), (subject, "*"), "signature.{}")
    await log.remember({name: stream}, seconds=60)
    return name


async def is_found(log: RedisLog, name: str) -> bool:
    return await log.recall([name]) != [None]


async def test_it_has_a_time_to_live_and_lies_in_the_slot_of_the_log(
    log: RedisLog, client: Redis
) -> None:
    name = await remembered(log)
    assert 0 < client.pttl(f"{{ended}}:ended:{name}") <= 60_000
    await control(log, "user:6")
    assert {key.partition(b"}")[0] for key in client.scan_iter("*")} == {b"{ended"}


async def test_a_set_that_was_evicted_hides_no_revocation(log: RedisLog, client: Redis) -> None:
    name = await remembered(log)
    await control(log, "user:5")
    client.delete(KEYS.revoked)
    assert not await is_found(log, name)
    await control(log, "user:6")  # the set exists again, without the entry that was lost
    assert not await is_found(log, name)
    assert await is_found(log, await remembered(log))


async def test_a_control_entry_of_an_earlier_version_counts(log: RedisLog, client: Redis) -> None:
    name = await remembered(log)
    await control(log, "user:6")
    assert await is_found(log, name)
    # That version appends the entry and lists its position, and knows no set.
    position = client.xadd(KEYS.stream, {header("0-0", "control"): "{}"})
    client.rpush(KEYS.controls, position)
    assert not await is_found(log, name)
    await control(log, "user:7")
    assert not await is_found(log, name)
    assert await is_found(log, await remembered(log))


async def test_what_is_forgotten_of_revocations_is_known_to_be(redis: RedisServer) -> None:
    async with log_at(redis, replace(RETENTION, revocation_age=0)) as log:
        before = await remembered(log, "aa", "user:5")
        await control(log, "user:5")
        between = await remembered(log, "bb", "user:9")
        await control(log, "user:6")  # forgets the first
        assert await log.recall([before]) == [None]
        assert await is_found(log, between)


async def test_rubbish_under_one_name_costs_the_others_nothing(
    log: RedisLog, client: Redis
) -> None:
    name = await remembered(log)
    epoch = (await log.state()).epoch
    values = ("", "rubbish", f"{epoch}\n1-x\nbody\nuser:5", f"{epoch}\n1-1", "\xff\n" * 5)
    for number, value in enumerate(values):
        client.set(f"{{ended}}:ended:{number}", value.encode("latin-1"), px=60_000)
    found = await log.recall([*map(str, range(len(values))), name])
    assert [each is not None for each in found] == [False] * len(values) + [True]


async def test_a_control_entry_is_appended_although_the_set_cannot_be_written(
    log: RedisLog, client: Redis
) -> None:
    name = await remembered(log)
    client.set(KEYS.revoked, "of another type")
    await control(log, "user:5")
    assert raw_entries(client, KEYS.stream)[-1].kind == b"control"
    with pytest.raises(Unavailable):
        await log.recall([name])

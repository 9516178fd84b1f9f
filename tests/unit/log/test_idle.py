"""How little a process asks Redis while nothing happens, and that events are not later for that."""

import asyncio
from contextlib import aclosing

from notifications.events import Event
from notifications.log.entries import Batch, Draft, Retention
from notifications.log.redis import RedisLog
from tests.harness.servers import RedisServer

DEADLINE_SECONDS = 60.0


def calls(redis: RedisServer, *commands: str) -> int:
    with redis.client() as client:
        stats = client.info("commandstats")
    sums = [
        int(stats[name]["calls"]) for name in stats if name.removeprefix("cmdstat_") in commands
    ]
    return sum(sums)


async def test_an_idle_log_is_checked_as_seldom_as_configured_and_events_come_at_once(
    redis: RedisServer,
) -> None:
    retention = Retention(events=1000, bytes=10**7, age=3600)
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        RedisLog(redis.url, prefix="test", retention=retention, timeout=5, idle_check=300) as log,
        aclosing(log.tail(await log.state())) as tail,
    ):
        with redis.client() as client:
            client.config_resetstat()
        for number in range(3):
            waiting = asyncio.ensure_future(anext(tail))
            await log.append([Draft(Event(topics=("a",), data=str(number)))])
            batch = await waiting
            assert isinstance(batch, Batch)
            assert [entry.data for entry in batch.entries] == [str(number).encode()]
        # One check at the tail's start, what a reading of `XREAD` and an append take, and the first
        # append again, because this Redis did not know its script.
        assert calls(redis, "xread", "evalsha", "eval") <= 2 * 3 + 3

"""A topic without events, while events of other topics push out the history."""

import asyncio
from pathlib import Path

import pytest

from tests.harness.event_source import subscribe
from tests.harness.servers import SERVERS, RedisServer, wait_until_ready

HISTORY = 20


@pytest.mark.parametrize("kind", sorted(SERVERS))
async def test_a_subscriber_of_a_quiet_topic_comes_back_without_a_reset(
    kind: str, redis: RedisServer, tmp_path: Path
) -> None:
    with SERVERS[kind](
        redis.url, tmp_path, CARILLON_HISTORY_EVENTS=str(HISTORY), CARILLON_KEEPALIVE="1"
    ) as web:
        await asyncio.to_thread(wait_until_ready, web.port)
        async with subscribe(web.port, "demo.quiet") as stream:
            opening = await stream.next()
            noise = [{"topic": "demo.noise", "data": "…"}] * (10 * HISTORY)
            status, answer = await asyncio.to_thread(web.publish, noise)
            assert status == 201
            last = answer["events"][-1]["cursor"]
            keepalive = opening
            while keepalive.id != last:
                keepalive = await stream.next()
                assert keepalive.type == "stream.cursor"
        async with subscribe(web.port, "demo.quiet", cursor=keepalive.id) as stream:
            assert (await stream.next()).type == "stream.cursor"
            await asyncio.to_thread(web.publish, {"topic": "demo.quiet", "data": "at last"})
            assert (await stream.next_event()).data == "at last"
        async with subscribe(web.port, "demo.quiet", cursor=opening.id) as stream:
            assert (
                await stream.next()
            ).type == "stream.reset"  # as it would be without keep-alives

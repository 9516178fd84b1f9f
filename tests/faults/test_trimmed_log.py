"""A log that lost entries which a process had not read yet: a reset, never silence."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.site import KEYS, Site, publish, reason_of, receives_next, receives_nothing
from tests.harness.event_source import DEADLINE_SECONDS, Stream, subscribe
from tests.harness.servers import daphne

PUBLISHED = ("one", "two", "three", "four")


async def _received_until_reset(stream: Stream) -> tuple[Sequence[str], str]:
    received = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (event := await stream.next_event()).type != "stream.reset":
            received.append(event.data)
    return received, reason_of(event)


@pytest.mark.parametrize(
    "cut",
    [
        ["XTRIM", KEYS.stream, "MAXLEN", "=", 1],
        ["XTRIM", KEYS.stream, "MAXLEN", "=", 0],
        ["DEL", KEYS.stream],
    ],
    ids=["all but the last", "all", "the stream itself"],
)
async def test_a_process_that_lags_behind_a_trimmed_log_resets_its_subscribers(
    site: Site, topic: str, cut: list[str | int]
) -> None:
    async with subscribe(site.one.port, topic) as stream:
        await stream.next()
        site.one.pause()
        try:
            for data in PUBLISHED:
                await publish(site.other, topic, data)
            with site.redis.client() as redis:
                redis.execute_command(*cut)
        finally:
            site.one.resume()
        received, reason = await _received_until_reset(stream)
        assert reason == "trimmed"
        assert tuple(received) == PUBLISHED[: len(received)]
        assert len(received) <= 1  # an entry that Redis had already sent to the process
        await receives_next(stream, site.other, topic)
        await receives_nothing(stream)


async def test_an_entry_deleted_from_the_middle_is_a_reset(site: Site, topic: str) -> None:
    async with subscribe(site.one.port, topic) as stream:
        await stream.next()
        site.one.pause()
        try:
            for data in PUBLISHED:
                await publish(site.other, topic, data)
            with site.redis.client() as redis:
                [*_, third, _last] = redis.xrange(KEYS.stream)
                redis.xdel(KEYS.stream, third[0])
        finally:
            site.one.resume()
        assert (await _received_until_reset(stream))[1] == "trimmed"
        await receives_next(stream, site.other, topic)


async def test_a_process_that_had_read_everything_goes_on_when_the_stream_is_deleted(
    site: Site, topic: str
) -> None:
    async with subscribe(site.one.port, topic) as stream:
        [cursor] = await publish(site.other, topic, "before")
        assert (await stream.next_event()).id == cursor
        with site.redis.client() as redis:
            redis.delete(KEYS.stream)
        await receives_next(stream, site.other, topic)


async def test_a_process_started_after_the_trim_resets_the_cursors_it_cannot_serve(
    site: Site, topic: str, tmp_path: Path
) -> None:
    cursors = await publish(site.one, topic, *PUBLISHED)
    with site.redis.client() as redis:
        redis.xtrim(KEYS.stream, maxlen=1, approximate=False)
    with daphne(site.redis.url, tmp_path, CARILLON_KEEPALIVE="0.5") as web:
        async with subscribe(web.port, topic, cursor=cursors[0]) as stream:
            assert reason_of(await stream.next()) == "trimmed"
            await receives_next(stream, site.other, topic)
        async with subscribe(web.port, topic, cursor=cursors[2]) as stream:
            assert (await stream.next_event()).data == PUBLISHED[3]

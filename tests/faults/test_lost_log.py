"""A log that loses all it had: each subscriber is told so once, and goes on live."""

from pathlib import Path

import pytest

from notifications.log.cursors import Cursor, position
from tests.faults.site import KEYS, Site, hears_next, hears_nothing, publish, reason_of
from tests.harness.event_source import subscribe
from tests.harness.servers import daphne

LOSSES = {
    "FLUSHALL": ["FLUSHALL"],
    "DEL": ["DEL", KEYS.meta],
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_an_idle_log_that_was_lost_is_a_reset_for_everyone(
    site: Site, topic: str, loss: str
) -> None:
    async with subscribe(site.one.port, topic) as here, subscribe(site.other.port, topic) as there:
        await here.next()
        await there.next()
        with site.redis.client() as redis:
            redis.execute_command(*LOSSES[loss])
        resets = [await here.next_event(), await there.next_event()]
        assert [reason_of(reset) for reset in resets] == ["log_lost", "log_lost"]
        await hears_next(here, site.other, topic)
        await hears_nothing(here)


async def test_a_publication_after_the_loss_does_not_hide_it(site: Site, topic: str) -> None:
    async with subscribe(site.one.port, topic) as stream:
        await publish(site.other, topic, "before")
        assert (await stream.next_event()).data == "before"
        with site.redis.client() as redis:
            redis.flushall()
        [after] = await publish(site.other, topic, "after")
        reset = await stream.next_event()
        assert reason_of(reset) == "log_lost"
        assert Cursor.parse(reset.id) == Cursor.parse(after)
        await hears_next(stream, site.other, topic)


async def test_an_entry_of_somebody_else_after_the_loss_does_not_hide_it(
    site: Site, topic: str
) -> None:
    async with subscribe(site.one.port, topic) as stream:
        await stream.next()
        with site.redis.client() as redis:
            redis.flushall()
            redis.xadd(KEYS.stream, {"not": "ours"})
        assert reason_of(await stream.next_event()) == "log_lost"
        await hears_next(stream, site.other, topic)


async def test_an_entry_of_somebody_else_in_a_sound_log_is_passed_over(
    site: Site, topic: str
) -> None:
    async with subscribe(site.one.port, topic) as stream:
        await publish(site.other, topic, "before")
        assert (await stream.next_event()).data == "before"
        with site.redis.client() as redis:
            redis.xadd(KEYS.stream, {"not": "ours"})
        await hears_next(stream, site.other, topic)


async def test_a_cursor_from_before_the_loss_is_a_reset(site: Site, topic: str) -> None:
    [cursor] = await publish(site.one, topic, "before")
    async with subscribe(site.one.port, topic, cursor=cursor) as stream:
        await stream.next()
        with site.redis.client() as redis:
            redis.flushall()
        assert reason_of(await stream.next_event()) == "log_lost"
    async with subscribe(site.one.port, topic, cursor=cursor) as stream:
        assert reason_of(await stream.next()) == "log_lost"
        await hears_next(stream, site.other, topic)


async def test_a_process_started_after_the_loss_knows_an_older_cursor(
    site: Site, topic: str, tmp_path: Path
) -> None:
    with daphne(site.redis.url, tmp_path) as web:
        [cursor] = await publish(web, topic, "before")
        port = web.port
    with site.redis.client() as redis:
        redis.flushall()
    with daphne(site.redis.url, tmp_path, port=port, CARILLON_KEEPALIVE="0.5"):
        async with subscribe(port, topic, cursor=cursor) as stream:
            assert reason_of(await stream.next()) == "log_lost"
            await hears_next(stream, site.other, topic)


@pytest.mark.parametrize("epoch", ["its own", "another"])
async def test_a_cursor_ahead_of_the_log_is_a_reset(site: Site, topic: str, epoch: str) -> None:
    [last] = await publish(site.one, topic, "last")
    ahead = Cursor(Cursor.parse(last).epoch, position(9_999_999_999_999))
    if epoch == "another":
        ahead = Cursor("0123456789ab", ahead.position)
    async with subscribe(site.one.port, topic, cursor=str(ahead)) as stream:
        reset = await stream.next_event()
        assert reason_of(reset) == ("unknown" if epoch == "its own" else "log_lost")
        await hears_next(stream, site.other, topic)
        await hears_nothing(stream)


async def test_a_cursor_that_is_none_is_a_reset(site: Site, topic: str) -> None:
    async with subscribe(site.one.port, topic, cursor="42") as stream:
        assert reason_of(await stream.next()) == "unknown"
        await hears_next(stream, site.other, topic)

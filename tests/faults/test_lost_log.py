"""A log loses all its entries: each subscriber gets one reset, and goes on live."""

from pathlib import Path

import pytest

from notifications.log.cursors import Cursor, make_position
from tests.faults.site import KEYS, Site, publish, reason_of, receives_next, receives_nothing
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
    async with (
        subscribe(site.one.port, topic) as first,
        subscribe(site.other.port, topic) as second,
    ):
        await first.next()
        await second.next()
        with site.redis.client() as redis:
            redis.execute_command(*LOSSES[loss])
        resets = [await first.next_event(), await second.next_event()]
        assert [reason_of(reset) for reset in resets] == ["log_lost", "log_lost"]
        await receives_next(first, site.other, topic)
        await receives_nothing(first)


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
        await receives_next(stream, site.other, topic)


async def test_a_foreign_entry_after_the_loss_does_not_hide_it(site: Site, topic: str) -> None:
    async with subscribe(site.one.port, topic) as stream:
        await stream.next()
        with site.redis.client() as redis:
            redis.flushall()
            redis.xadd(KEYS.stream, {"not": "ours"})
        assert reason_of(await stream.next_event()) == "log_lost"
        await receives_next(stream, site.other, topic)


async def test_a_foreign_entry_in_a_sound_log_is_skipped(site: Site, topic: str) -> None:
    async with subscribe(site.one.port, topic) as stream:
        await publish(site.other, topic, "before")
        assert (await stream.next_event()).data == "before"
        with site.redis.client() as redis:
            redis.xadd(KEYS.stream, {"not": "ours"})
        await receives_next(stream, site.other, topic)


async def test_a_cursor_from_before_the_loss_is_a_reset(site: Site, topic: str) -> None:
    [cursor] = await publish(site.one, topic, "before")
    async with subscribe(site.one.port, topic, cursor=cursor) as stream:
        await stream.next()
        with site.redis.client() as redis:
            redis.flushall()
        assert reason_of(await stream.next_event()) == "log_lost"
    async with subscribe(site.one.port, topic, cursor=cursor) as stream:
        assert reason_of(await stream.next()) == "log_lost"
        await receives_next(stream, site.other, topic)


async def test_a_process_started_after_the_loss_resets_an_older_cursor(
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
            await receives_next(stream, site.other, topic)


@pytest.mark.parametrize("epoch", ["its own", "another"])
async def test_a_cursor_ahead_of_the_log_is_a_reset(site: Site, topic: str, epoch: str) -> None:
    [last] = await publish(site.one, topic, "last")
    ahead = Cursor(Cursor.parse(last).epoch, make_position(9_999_999_999_999))
    if epoch == "another":
        ahead = Cursor("0123456789ab", ahead.position)
    async with subscribe(site.one.port, topic, cursor=str(ahead)) as stream:
        reset = await stream.next_event()
        assert reason_of(reset) == ("unknown" if epoch == "its own" else "log_lost")
        await receives_next(stream, site.other, topic)
        await receives_nothing(stream)


async def test_an_unreadable_cursor_is_a_reset(site: Site, topic: str) -> None:
    async with subscribe(site.one.port, topic, cursor="42") as stream:
        assert reason_of(await stream.next()) == "unknown"
        await receives_next(stream, site.other, topic)

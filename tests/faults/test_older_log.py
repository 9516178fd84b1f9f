"""Redis comes back with older data, as after a failover: every subscriber gets a reset."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from notifications.events import Event
from notifications.log.entries import Draft, Retention
from notifications.log.redis_sync import RedisSyncLog
from tests.faults.site import (
    Site,
    publish,
    reason_of,
    receives_next,
    receives_nothing,
    running_site,
)
from tests.harness.event_source import Stream, subscribe
from tests.harness.servers import RedisServer, redis_server


@contextmanager
def _older(redis: RedisServer, backup: Path) -> Iterator[None]:
    redis.kill()
    with redis_server(backup, port=redis.port):
        yield


async def _receive(stream: Stream, *cursors: str) -> None:
    for cursor in cursors:
        assert (await stream.next_event()).id == cursor


async def _with_a_backup(site: Site, topic: str, tmp_path: Path, *streams: Stream) -> Path:
    """A copy of the log from before the last event that the streams receive."""
    for stream in streams:
        await stream.next()
    kept = await publish(site.one, topic, "kept")
    backup = tmp_path / "backup"
    shutil.copytree(site.redis.log.parent, backup)
    lost = await publish(site.one, topic, "lost")
    for stream in streams:
        await _receive(stream, *kept, *lost)
    return backup


async def test_a_lost_event_is_a_reset_for_everyone(topic: str, tmp_path: Path) -> None:
    with running_site(tmp_path) as site:
        ports = site.one.port, site.other.port
        async with subscribe(ports[0], topic) as first, subscribe(ports[1], topic) as second:
            backup = await _with_a_backup(site, topic, tmp_path, first, second)
            with _older(site.redis, backup):
                assert reason_of(await first.next_event()) == "log_lost"
                assert reason_of(await second.next_event()) == "log_lost"
                await receives_next(first, site.other, topic)
                await receives_nothing(first)


async def test_a_lost_event_is_a_reset_even_if_the_log_has_grown_again(
    topic: str, tmp_path: Path
) -> None:
    with running_site(tmp_path) as site:
        async with subscribe(site.one.port, topic) as stream:
            backup = await _with_a_backup(site, topic, tmp_path, stream)
            site.one.pause()
            site.other.kill()
            with _older(site.redis, backup):
                _append(site.redis, topic, "grown again")
                site.one.resume()
                assert reason_of(await stream.next_event()) == "log_lost"
                await receives_next(stream, site.one, topic)


def _append(redis: RedisServer, topic: str, data: str) -> None:
    """Append as an application process that does not know of the loss."""
    retention = Retention(events=1_000, bytes=1_000_000, age=1_000)
    appender = RedisSyncLog(redis.url, prefix="carillon", retention=retention, timeout=5)
    appender.append([Draft(Event(topics=[topic], data=data))])
    appender.close()

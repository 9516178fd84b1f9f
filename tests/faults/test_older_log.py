"""A Redis that comes back with older data, as after a failover: everyone is told."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from notifications.events import Event
from notifications.log.base import Draft, Retention
from notifications.log.redis_sync import RedisAppender
from tests.faults.site import Site, hears_next, hears_nothing, publish, reason_of, running_site
from tests.harness.event_source import Stream, subscribe
from tests.harness.servers import RedisServer, redis_server


@contextmanager
def _older(redis: RedisServer, backup: Path) -> Iterator[None]:
    redis.kill()
    with redis_server(backup, port=redis.port):
        yield


async def _hear(stream: Stream, *cursors: str) -> None:
    for cursor in cursors:
        assert (await stream.next_event()).id == cursor


async def _with_a_backup(site: Site, topic: str, tmp_path: Path, *streams: Stream) -> Path:
    """A copy of the log from before the last event that the streams hear."""
    for stream in streams:
        await stream.next()
    kept = await publish(site.one, topic, "kept")
    backup = tmp_path / "backup"
    shutil.copytree(site.redis.log.parent, backup)
    lost = await publish(site.one, topic, "lost")
    for stream in streams:
        await _hear(stream, *kept, *lost)
    return backup


async def test_what_was_lost_is_a_reset_for_everyone(topic: str, tmp_path: Path) -> None:
    with running_site(tmp_path) as site:
        ports = site.one.port, site.other.port
        async with subscribe(ports[0], topic) as here, subscribe(ports[1], topic) as there:
            backup = await _with_a_backup(site, topic, tmp_path, here, there)
            with _older(site.redis, backup):
                assert reason_of(await here.next_event()) == "log_lost"
                assert reason_of(await there.next_event()) == "log_lost"
                await hears_next(here, site.other, topic)
                await hears_nothing(here)


async def test_what_was_lost_is_seen_when_the_log_has_grown_again(
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
                await hears_next(stream, site.one, topic)


def _append(redis: RedisServer, topic: str, data: str) -> None:
    """As a process of the application does that knows nothing of what was lost."""
    retention = Retention(events=1_000, bytes=1_000_000, age=1_000)
    appender = RedisAppender(redis.url, prefix="carillon", retention=retention, timeout=5)
    appender.append([Draft(Event(topics=[topic], data=data))])
    appender.close()

"""Redis goes away and comes back: streams stay and open, publishing gets 503, nothing is lost."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from notifications.log.cursors import Cursor
from tests.harness.event_source import DEADLINE_SECONDS, Stream, subscribe
from tests.harness.promises import allowed_seconds
from tests.harness.publisher import HttpSender, Publisher
from tests.harness.servers import (
    SERVERS,
    RedisServer,
    WebServer,
    daphne,
    free_port,
    redis_server,
    wait_until_ready,
)

RECONNECT_SECONDS = 4.0  # the tail connects several times, after pauses of up to 1.5 s
READ_TIMEOUT_SECONDS = 8.0  # longer than the 5 s after which a read that blocks 2 s is given up
KEEPALIVE_SECONDS = 2.0
PROMPT_SECONDS = 4.0  # the publish timeout is 2 s; the machine may be busy

type Outage = Callable[[RedisServer, Path], AbstractContextManager[None]]


@contextmanager
def _killed(redis: RedisServer, folder: Path) -> Iterator[None]:
    """Redis is gone meanwhile, and comes back with everything it had acknowledged."""
    redis.kill()
    yield
    # The new process ends with the test, by `redis.stop`.
    with redis_server(folder, port=redis.port) as again:
        redis.popen, again.popen = again.popen, redis.popen


@contextmanager
def _paused(redis: RedisServer, folder: Path) -> Iterator[None]:
    """Redis accepts connections meanwhile, and answers nothing."""
    redis.pause()
    try:
        yield
    finally:
        redis.resume()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("kind", "outage", "seconds"),
    [("daphne", _killed, RECONNECT_SECONDS), ("uvicorn", _paused, READ_TIMEOUT_SECONDS)],
    ids=["killed", "paused"],
)
async def test_an_outage_of_redis_ends_no_stream_and_loses_nothing(
    kind: str, outage: Outage, seconds: float, topic: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(redis_server(tmp_path))
        one, other = [
            stack.enter_context(
                SERVERS[kind](redis.url, tmp_path / name, CARILLON_KEEPALIVE=str(KEEPALIVE_SECONDS))
            )
            for name in ("one", "other")
        ]
        for web in one, other:
            await asyncio.to_thread(wait_until_ready, web.port)
        first, second, idle = [
            await stack.enter_async_context(subscribe(web.port, subscribed))
            for web, subscribed in ((one, topic), (other, topic), (one, f"{topic}.idle"))
        ]
        publisher = Publisher(topic, topic, sender := HttpSender(one.port), keys=True)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publisher.run())
            await publisher.wait_for_acknowledged(20)
            with outage(redis, tmp_path):
                late = await stack.enter_async_context(subscribe(other.port, topic))
                joined = Cursor.parse((await late.next()).id)
                await _stays_alive(idle, seconds)
                for web in (one, other):
                    assert await _health(web) == (200, 503)
            await publisher.wait_for_acknowledged(20)
            publisher.stop()
        acknowledged = [(each.cursor, each.data) for each in publisher.published if each.cursor]
        assert len(acknowledged) >= len(publisher.published) - 1
        for stream in (first, second):
            assert await _received(stream, until=acknowledged[-1]) == acknowledged
        assert await _received(late, until=acknowledged[-1]) == [
            (cursor, data) for cursor, data in acknowledged if cursor.position > joined.position
        ]
        assert (await _health(one), await _health(other)) == ((200, 200), (200, 200))
        _check_refusals(sender, seconds)
        if outage is _paused:
            # Redis kept an event that it could not acknowledge, and recognised the repetition.
            assert sender.duplicates
            assert "unknown" in {refusal.outcome for refusal in sender.refusals}


async def _stays_alive(stream: Stream, seconds: float) -> None:
    """Read keep-alives for that long."""
    kept_alive = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await stream.next()).type == "stream.cursor":
                kept_alive += 1
    assert kept_alive >= seconds / (1.25 * KEEPALIVE_SECONDS) - 2


async def _health(web: WebServer) -> tuple[int, int]:
    """The statuses of `/health/ready` and `/health/publish`."""
    ready, _ = await asyncio.to_thread(web.get, "/health/ready")
    async with asyncio.timeout(allowed_seconds(PROMPT_SECONDS)):
        publish, _ = await asyncio.to_thread(web.get, "/health/publish")
    return ready, publish


async def _received(stream: Stream, *, until: tuple[Cursor, str]) -> list[tuple[Cursor, str]]:
    """The cursor and data of each event up to this one."""
    received: list[tuple[Cursor, str]] = []
    while not received or received[-1] != until:
        event = await stream.next_event()
        received.append((Cursor.parse(event.id), event.data))
    return received


def _check_refusals(sender: HttpSender, seconds: float) -> None:
    assert sender.failures == []
    assert len(sender.refusals) >= seconds / allowed_seconds(PROMPT_SECONDS) - 1
    for refusal in sender.refusals:
        assert refusal.status == 503
        assert refusal.outcome in ("not_sent", "unknown")
        assert refusal.headers is not None
        assert "retry-after" in refusal.headers
        assert refusal.headers["content-type"] == "application/problem+json"
        assert refusal.seconds < allowed_seconds(PROMPT_SECONDS)


async def test_a_process_started_during_an_outage_closes_streams_until_it_can_serve_them(
    topic: str, tmp_path: Path
) -> None:
    port = free_port()
    with daphne(f"redis://127.0.0.1:{port}/0", tmp_path / "web") as web:
        async with subscribe(web.port, topic) as stream:
            assert stream.status == 200
            closing = await stream.next()
            assert (closing.type, json.loads(closing.data)) == (
                "stream.closing",
                {"reason": "starting"},
            )
            assert closing.retry is not None
            with pytest.raises(EOFError):
                await stream.next()
        assert await _health(web) == (503, 503)
        with redis_server(tmp_path / "redis", port=port):
            async with asyncio.timeout(DEADLINE_SECONDS):
                while (await _health(web)) != (200, 200):
                    pass
            async with subscribe(web.port, topic) as stream:
                assert (await stream.next()).type == "stream.cursor"

"""Redis goes away and comes back: streams stay and open, publishing says 503, nothing is lost."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from notifications.log.cursors import Cursor
from tests.harness.event_source import DEADLINE, Stream, subscribe
from tests.harness.persistent_publisher import Persistent
from tests.harness.servers import SERVERS, RedisServer, WebServer, daphne, free_port, redis_server

A_TAIL_IS_PATIENT = 4.0  # it tries again and again, after pauses of up to a second and a half
A_TAIL_GIVES_UP = 8.0  # a read that blocks for two seconds is given five
KEEPALIVE = 2.0
PROMPT = 4.0  # the bound of a publication, which is two seconds, on a busy machine

type Outage = Callable[[RedisServer, Path], AbstractContextManager[None]]


@contextmanager
def _killed(redis: RedisServer, folder: Path) -> Iterator[None]:
    """Redis is gone meanwhile, and comes back with what it had acknowledged."""
    redis.kill()
    yield
    # It ends with the test, by `redis.stop`.
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
    [("daphne", _killed, A_TAIL_IS_PATIENT), ("uvicorn", _paused, A_TAIL_GIVES_UP)],
    ids=["killed", "paused"],
)
async def test_an_outage_of_redis_ends_no_stream_and_loses_nothing(
    kind: str, outage: Outage, seconds: float, topic: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(redis_server(tmp_path))
        one, other = [
            stack.enter_context(
                SERVERS[kind](redis.url, tmp_path / name, CARILLON_KEEPALIVE=str(KEEPALIVE))
            )
            for name in ("one", "other")
        ]
        here, there, idle = [
            await stack.enter_async_context(subscribe(web.port, heard))
            for web, heard in ((one, topic), (other, topic), (one, f"{topic}.idle"))
        ]
        publisher = Persistent(one, topic)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publisher.run())
            await publisher.more(20)
            with outage(redis, tmp_path):
                late = await stack.enter_async_context(subscribe(other.port, topic))
                joined = Cursor.parse((await late.next()).id)
                await _stays_alive(idle, seconds)
                for web in (one, other):
                    assert await _health(web) == (200, 503)
            await publisher.more(20)
            publisher.stopping = True

        for stream in (here, there):
            assert await _heard(stream, publisher) == publisher.acknowledged
        assert await _heard(late, publisher) == [
            (cursor, data)
            for cursor, data in publisher.acknowledged
            if Cursor.parse(cursor).position > joined.position
        ]
        assert (await _health(one), await _health(other)) == ((200, 200), (200, 200))
        _check_refusals(publisher, seconds)
        if outage is _paused:
            # Redis took what it could not acknowledge, and took its repetition for what it was.
            assert publisher.duplicates
            assert "unknown" in {refusal.outcome for refusal in publisher.refusals}


async def _stays_alive(stream: Stream, seconds: float) -> None:
    """Read keep-alives for that long."""
    kept_alive = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await stream.next()).type == "stream.cursor":
                kept_alive += 1
    assert kept_alive >= seconds / (1.25 * KEEPALIVE) - 2


async def _health(web: WebServer) -> tuple[int, int]:
    """The statuses of ready and publish."""
    ready, _ = await asyncio.to_thread(web.get, "/health/ready")
    async with asyncio.timeout(PROMPT):
        publish, _ = await asyncio.to_thread(web.get, "/health/publish")
    return ready, publish


async def _heard(stream: Stream, publisher: Persistent) -> list[tuple[str, str]]:
    """Everything up to what was acknowledged last."""
    heard: list[tuple[str, str]] = []
    while not heard or heard[-1] != publisher.acknowledged[-1]:
        event = await stream.next_event()
        heard.append((event.id, event.data))
    return heard


def _check_refusals(publisher: Persistent, seconds: float) -> None:
    assert len(publisher.refusals) >= seconds / PROMPT - 1
    for refusal in publisher.refusals:
        assert refusal.outcome in ("not_sent", "unknown")
        assert refusal.retry_after is not None
        assert refusal.content_type == "application/problem+json"
        assert refusal.seconds < PROMPT


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
            async with asyncio.timeout(DEADLINE):
                while (await _health(web)) != (200, 200):
                    pass
            async with subscribe(web.port, topic) as stream:
                assert (await stream.next()).type == "stream.cursor"

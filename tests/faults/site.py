"""Two web processes on their own Redis, and what a subscriber may receive when Redis fails."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from notifications.log.script import Keys
from notifications.sse import ServerSentEvent
from tests.harness.event_source import Stream
from tests.harness.servers import RedisServer, WebServer, daphne, redis_server, wait_until_ready

KEYS = Keys("carillon")
KEEPALIVE_SECONDS = 0.5
KEEPALIVES_OF_A_CHECK = 6  # within so many, each process has checked an idle log once more

_number = count(1)


def new_topic() -> str:
    """A topic that no test has used before."""
    return f"demo.topic-{next(_number)}"


@dataclass
class Site:
    redis: RedisServer
    one: WebServer
    other: WebServer


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    with (
        redis_server(folder / "redis") as redis,
        daphne(redis.url, folder / "one", CARILLON_KEEPALIVE=str(KEEPALIVE_SECONDS)) as one,
        daphne(redis.url, folder / "other", CARILLON_KEEPALIVE=str(KEEPALIVE_SECONDS)) as other,
    ):
        for web in one, other:
            wait_until_ready(web.port)
        yield Site(redis, one, other)


async def publish(web: WebServer, topic: str, *data: str) -> list[str]:
    """Publish, and return the cursors that were acknowledged."""
    events: list[dict[str, Any]] = [{"topic": topic, "data": each} for each in data]
    status, answer = await asyncio.to_thread(web.publish, events)
    assert status == 201, answer
    return [each["cursor"] for each in answer["events"]]


def reason_of(event: ServerSentEvent) -> str:
    assert event.type == "stream.reset", event
    return str(json.loads(event.data)["reason"])


async def receives_next(stream: Stream, web: WebServer, topic: str) -> None:
    """The event that is published now comes next, and nothing before it."""
    [cursor] = await publish(web, topic, "from now on")
    received = await stream.next_event()
    assert (received.id, received.data) == (cursor, "from now on")


async def receives_nothing(stream: Stream) -> None:
    """Only keep-alives come, for as long as a check of an idle log takes."""
    for _ in range(KEEPALIVES_OF_A_CHECK):
        assert (await stream.next()).type == "stream.cursor"

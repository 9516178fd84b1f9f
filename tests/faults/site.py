"""Two web processes on a Redis of their own, and what a subscriber may be told when it fails."""

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
from tests.harness.servers import RedisServer, WebServer, daphne, redis_server

KEYS = Keys("carillon")
KEEPALIVE = 0.5
LONG_ENOUGH = 6  # keep-alives, in which each process has looked at an idle log once more

_number = count(1)


def new_topic() -> str:
    """One that nobody has used before."""
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
        daphne(redis.url, folder / "one", CARILLON_KEEPALIVE=str(KEEPALIVE)) as one,
        daphne(redis.url, folder / "other", CARILLON_KEEPALIVE=str(KEEPALIVE)) as other,
    ):
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


async def hears_next(stream: Stream, web: WebServer, topic: str) -> None:
    """What is published now comes next: there is nothing else to be told."""
    [cursor] = await publish(web, topic, "from here on")
    heard = await stream.next_event()
    assert (heard.id, heard.data) == (cursor, "from here on")


async def hears_nothing(stream: Stream) -> None:
    """Nothing but keep-alives, for long enough."""
    for _ in range(LONG_ENOUGH):
        assert (await stream.next()).type == "stream.cursor"

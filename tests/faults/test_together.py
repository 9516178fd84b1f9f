"""Redis fails while dozens publish at the same time: in the midst of their groups."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from notifications.errors import Unavailable
from notifications.events import Event
from notifications.log.acks import HighWaterMarks
from notifications.log.entries import Draft, Retention
from notifications.log.redis import RedisLog
from notifications.log.redis_sync import RedisSyncLog
from notifications.publishing.publisher import fingerprint
from tests.faults.site import KEYS
from tests.harness.raw_log import raw_events
from tests.harness.redis_faults import FaultyRedis, cut_replies, faulty_redis, full, killed, stopped
from tests.harness.servers import PUBLISH_KEY, uvicorn, wait_until_ready

DEADLINE_SECONDS = 90.0
PUBLISHERS = 12
"""Of each way to publish."""
ENOUGH_EVENTS = 3
TIMEOUT_SECONDS = 2.0
PAUSE_SECONDS = 0.2
"""After a failure, so that those who repeat leave the machine to Redis."""
RETENTION = Retention(events=100_000, bytes=10**9, age=3600, idempotency_age=600)

type Append = Callable[[str, str], Awaitable[str]]
"""Publishes an event under a key; its outcome is `kept`, `not_sent` or `unknown`."""

pytestmark = pytest.mark.usefixtures("loop_without_debug")


@dataclass
class Publisher:
    """Publishes one event after the other, and repeats one whose outcome is unknown."""

    name: str
    append: Append
    kept: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        number = 0
        while True:
            data = f"{self.name} {number}"
            outcome = await self.append(data, data)
            while outcome == "unknown" or (outcome == "not_sent" and data in self.unknown):
                # A refusal is about this attempt, and not about the one before.
                self.unknown.append(data)
                self.answered.set()
                await asyncio.sleep(PAUSE_SECONDS)
                outcome = await self.append(data, data)
            (self.kept if outcome == "kept" else self.refused).append(data)
            self.answered.set()
            if outcome != "kept":
                await asyncio.sleep(PAUSE_SECONDS)
            number += 1

    async def advance(self) -> None:
        """Wait for a few acknowledgements that are still to come."""
        enough = len(self.kept) + ENOUGH_EVENTS
        await self._until(lambda: len(self.kept) >= enough)

    async def fail(self) -> None:
        """Wait for something else than an acknowledgement."""
        await self._until(lambda: bool(self.refused or self.unknown))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.answered.clear()
            await self.answered.wait()


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FaultyRedis, int]]:
    """A Redis that can be made to fail, and the port of a server that publishes into it."""
    folder: Path = tmp_path_factory.mktemp("together")
    with (
        faulty_redis(folder / "redis") as redis,
        uvicorn(
            redis.network.url, folder / "web", CARILLON_PUBLISH_TIMEOUT=str(TIMEOUT_SECONDS)
        ) as web,
    ):
        wait_until_ready(web.port)
        yield redis, web.port


def _draft(data: str, key: str) -> Draft:
    return Draft(Event(topics=("demo.t",), data=data), key, fingerprint(data.encode()), named=False)


@asynccontextmanager
async def ways(redis: FaultyRedis, port: int) -> AsyncIterator[dict[str, Append]]:
    """By POST, from an event loop, and from threads."""
    url = redis.network.url
    options: dict[str, Any] = {"prefix": "carillon", "retention": RETENTION}
    options |= {"timeout": TIMEOUT_SECONDS, "marks": HighWaterMarks()}
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(RedisLog(url, **options))
        sync_log = stack.enter_context(closing(RedisSyncLog(url, **options)))
        limits = httpx.Limits(max_connections=PUBLISHERS)
        client = await stack.enter_async_context(
            httpx.AsyncClient(timeout=DEADLINE_SECONDS, trust_env=False, limits=limits)
        )

        async def post(data: str, key: str) -> str:
            response = await client.post(
                f"http://127.0.0.1:{port}/publish/",
                json={"topic": "demo.t", "data": data},
                headers={"Authorization": f"Bearer {PUBLISH_KEY}", "Idempotency-Key": key},
            )
            if response.status_code in (200, 201):
                return "kept"
            assert response.status_code == 503, response.text
            return str(response.json()["outcome"])

        async def outcome_of(call: Awaitable[object]) -> str:
            try:
                await call
            except Unavailable as error:
                return error.outcome
            return "kept"

        yield {
            "post": post,
            "loop": lambda data, key: outcome_of(log.append([_draft(data, key)])),
            "thread": lambda data, key: outcome_of(
                asyncio.to_thread(sync_log.append, [_draft(data, key)])
            ),
        }


def in_log(redis: FaultyRedis) -> list[str]:
    with redis.redis.client() as client:
        return [event.data for event in raw_events(client, KEYS.stream)]


async def _all_advance(publishers: list[Publisher]) -> None:
    await asyncio.gather(*(publisher.advance() for publisher in publishers))


@pytest.mark.parametrize("fault", ["killed", "stopped", "full", "answers cut"])
async def test_each_acknowledged_event_is_in_the_log_once_and_no_refused_one(
    faulty: tuple[FaultyRedis, int], fault: str
) -> None:
    redis, port = faulty
    async with asyncio.timeout(DEADLINE_SECONDS), ways(redis, port) as appends:
        publishers = [
            Publisher(f"{fault} {way} {number}", append)
            for way, append in appends.items()
            for number in range(PUBLISHERS)
        ]
        tasks = [asyncio.create_task(publisher.run()) for publisher in publishers]
        await _all_advance(publishers)
        if fault == "answers cut":
            await asyncio.to_thread(cut_replies, redis)
        else:
            outage = {"killed": killed, "stopped": stopped, "full": full}[fault](redis)
            await asyncio.to_thread(outage.__enter__)
            await asyncio.gather(*(publisher.fail() for publisher in publishers))
            await asyncio.to_thread(outage.__exit__, None, None, None)
        await _all_advance(publishers)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    redis.network.cuts = b""
    assert {type(result) for result in results} == {asyncio.CancelledError}
    if fault == "answers cut":
        assert redis.network.done
    _check(publishers, in_log(redis))


def _check(publishers: list[Publisher], log: list[str]) -> None:
    for publisher in publishers:
        own = [data for data in log if data.startswith(f"{publisher.name} ")]
        assert len(own) == len(set(own)), "an event is in the log twice"
        missing = set(publisher.kept) - set(own)
        assert not missing, "an acknowledged event is not in the log"
        assert not set(publisher.refused) & set(own), "a refused event is in the log"
        numbers = [int(data.rpartition(" ")[2]) for data in own]
        assert numbers == sorted(numbers), "a publisher's events are not in order"

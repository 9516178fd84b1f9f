"""Subscribers on a bad network, and publishers that do not wait for each other."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from notifications.log.cursors import Cursor
from notifications.sse import Decoder, ServerSentEvent
from tests.harness.event_source import Stream, subscribe
from tests.harness.servers import PUBLISH_KEY, WebServer

DEADLINE = 60.0
END = "end"


class Progress:
    """How many events have been acknowledged so far, for those who wait for more."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._news = asyncio.Condition()
        self.done = 0

    async def add(self, number: int) -> None:
        async with self._news:
            self.done += number
            self._news.notify_all()

    async def until(self, number: int) -> None:
        """As many as that, or all there will be."""
        async with asyncio.timeout(DEADLINE), self._news:
            await self._news.wait_for(lambda: self.done >= min(number, self._total))


@dataclass
class Restless:
    """Is cut off at random and comes back by its last id, until it hears `END`."""

    servers: Sequence[WebServer]
    topics: Sequence[str]
    random: Random
    received: list[ServerSentEvent] = field(default_factory=list)
    cursor: str | None = None
    connections: int = 0
    cut_in_a_block: int = 0

    async def begin(self) -> None:
        """Learn the place to go on from, before anything is published."""
        async with self._connect() as stream:
            self.cursor = (await stream.next()).id

    async def listen(self, progress: Progress) -> None:
        while not self._has_all:
            async with self._connect() as stream:
                await self._read(stream, self._bytes_until_cut())
            if self.random.random() < 0.3:
                await progress.until(progress.done + self.random.randrange(1_000))

    @property
    def _has_all(self) -> bool:
        return bool(self.received) and self.received[-1].type == END

    def _connect(self) -> Stream:
        self.connections += 1
        port = self.random.choice(self.servers).port
        return subscribe(port, *self.topics, cursor=self.cursor, since="all")

    def _bytes_until_cut(self) -> int:
        soon, later, late = (
            self.random.randrange(1, 400),
            int(self.random.expovariate(1 / 8_000)) + 1,
            self.random.randrange(20_000, 100_000),
        )
        return self.random.choice((soon, later, later, late))

    async def _read(self, stream: Stream, left: int) -> None:
        decoder = Decoder()
        piece = b"\n\n"
        while left and not self._has_all:
            piece = await stream.read(left)
            assert piece, "The server ended the stream."
            left -= len(piece)
            for event in decoder.feed(piece):
                self.cursor = event.id
                if event.type != "stream.cursor":
                    self.received.append(event)
        self.cut_in_a_block += not piece.endswith(b"\n\n")


@dataclass(frozen=True)
class Published:
    cursor: Cursor
    topics: frozenset[str]
    data: str


class Publisher:
    """Publishes at one server, and keeps what was acknowledged."""

    def __init__(self, server: WebServer) -> None:
        headers = {"Authorization": f"Bearer {PUBLISH_KEY}"}
        self._client = httpx.AsyncClient(base_url=server.url, headers=headers, timeout=DEADLINE)
        self.published: list[Published] = []

    async def publish_all(
        self, batches: Iterable[list[dict[str, Any]]], progress: Progress
    ) -> None:
        async with self._client:
            for batch in batches:
                await self._publish(batch)
                await progress.add(len(batch))

    async def _publish(self, batch: list[dict[str, Any]]) -> None:
        answer = await self._client.post("/publish/", json=batch if len(batch) > 1 else batch[0])
        assert answer.status_code == 201, answer.text
        content = answer.json()
        for event, said in zip(batch, content.get("events", [content]), strict=True):
            self.published.append(
                Published(
                    Cursor.parse(said["cursor"]), frozenset(said["topics"]), on_the_wire(event)
                )
            )


def on_the_wire(event: dict[str, Any]) -> str:
    data = event["data"]
    return data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))

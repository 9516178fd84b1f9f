"""Subscribing and publishing through Django's test client, without a server or a hand-off."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.test import AsyncClient

from notifications.sse import Decoder, ServerSentEvent
from tests.harness.servers import PUBLISH_KEY

DEADLINE_SECONDS = 60.0
AUTHORIZED = {"Authorization": f"Bearer {PUBLISH_KEY}"}
JSON = "application/json"
NDJSON = "application/x-ndjson"
FORM = "application/x-www-form-urlencoded"
PROBLEM = "application/problem+json"


@dataclass
class Answer:
    """A response with a JSON body."""

    status: int
    headers: dict[str, str]
    body: Any

    def is_problem(self, status: int, code: str) -> bool:
        """Whether it is that problem. Asserts that it is complete (RFC 9457)."""
        assert self.headers["content-type"] == PROBLEM, self
        assert self.body["status"] == self.status, self
        assert self.body["title"], self
        assert self.body["detail"], self
        return self.status == status and self.body["type"] == f"urn:carillon:problem:{code}"


def answer(response: Any) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, json.loads(response.content))


async def post(
    client: AsyncClient,
    body: Any,
    *,
    content_type: str = JSON,
    path: str = "/publish/",
    headers: dict[str, str] | None = None,
) -> Answer:
    """Publish, by default with the key of the tests. A body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with asyncio.timeout(DEADLINE_SECONDS):
        response = await client.post(
            path,
            data=content,
            content_type=content_type,
            headers=AUTHORIZED if headers is None else headers,
        )
    return answer(response)


class Stream:
    """The events of an open response. Each read has a deadline."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._decoder = Decoder()
        self._ready: list[ServerSentEvent] = []

    async def next(self) -> ServerSentEvent:
        """The next event, signals included. Raises `StopAsyncIteration` at the end."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not self._ready:
                self._ready += self._decoder.feed(await anext(self._chunks))
        return self._ready.pop(0)

    async def data(self, count: int) -> list[str]:
        """The data of the next events that are not signals."""
        data: list[str] = []
        while len(data) < count:
            event = await self.next()
            if not event.type.startswith("stream."):
                data.append(event.data)
        return data


@asynccontextmanager
async def reading(response: Any) -> AsyncGenerator[Stream]:
    assert response.status_code == 200, response.content
    chunks = aiter(response)
    try:
        yield Stream(chunks)
    finally:
        await chunks.aclose()


@asynccontextmanager
async def subscribed(
    client: AsyncClient,
    *topics: str,
    headers: dict[str, str] | None = None,
    parameters: list[tuple[str, str]] | None = None,
) -> AsyncGenerator[Stream]:
    query = urlencode([("topic", topic) for topic in topics] + (parameters or []))
    response = await client.get(f"/events/?{query}", headers=headers or {})
    async with reading(response) as stream:
        yield stream

"""The site that the doctor probes: opens its streams as a browser does, and publishes events."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
from django.urls import NoReverseMatch, reverse

from notifications.sse import Decoder, ServerSentEvent

# The encodings that a browser accepts, and those of them that httpx can read by itself.
ENCODINGS = "gzip, deflate, br, zstd"
READABLE = "gzip, deflate"
MAX_BODY_BYTES = 4096


class StreamTimeout(Exception):
    """Nothing came within the doctor's timeout."""


class StreamEnded(Exception):
    """The stream has ended; the message says how."""


@dataclass
class ProbeStream:
    """An open stream. Its events are read as they arrive, and wait in a queue."""

    response: httpx.Response
    timeout: float
    opened_at: float
    first_byte_at: float = 0.0
    body: bytearray = field(default_factory=bytearray)
    _queue: asyncio.Queue[ServerSentEvent | StreamEnded] = field(default_factory=asyncio.Queue)

    async def next(self, *, within: float | None = None) -> ServerSentEvent:
        """The next event. Raises `StreamTimeout` or `StreamEnded`."""
        try:
            async with asyncio.timeout(self.timeout if within is None else within):
                item = await self._queue.get()
        except TimeoutError:
            raise StreamTimeout from None
        if isinstance(item, StreamEnded):
            self._queue.put_nowait(item)  # for the next call
            raise item
        return item

    async def event(self, data: str) -> ServerSentEvent:
        """The event with this data, which must come within the timeout. Raises as `next` does."""
        deadline = time.monotonic() + self.timeout
        while True:
            event = await self.next(within=max(0.0, deadline - time.monotonic()))
            if event.data == data and not event.type.startswith("stream."):
                return event

    async def read(self) -> None:
        """Read the stream to its end."""
        decoder = Decoder()
        try:
            async for data in self.response.aiter_bytes():
                self.first_byte_at = self.first_byte_at or time.monotonic()
                self.body += data[: MAX_BODY_BYTES - len(self.body)]
                for event in decoder.feed(data):
                    self._queue.put_nowait(event)
            self._queue.put_nowait(StreamEnded("it was ended in good order"))
        except httpx.HTTPError as error:
            self._queue.put_nowait(StreamEnded(f"it was cut ({type(error).__name__})"))


class Target:
    """`url` is the site's URL, or that of its streams.

    The probe's topic is a random one below `topic`, or below `doctor`: nobody else uses it.
    """

    def __init__(self, url: str, *, topic: str | None, key: str | None, timeout: float) -> None:
        self.key = key
        self.timeout = timeout
        self._ssl_context = httpx.create_ssl_context()  # slower to make than a stream is to open
        self.events_url, self.publish_url = _urls(url)
        self.topic = f"{(topic or 'doctor').rstrip('.')}.doctor-{secrets.token_hex(8)}"

    @property
    def is_secure(self) -> bool:
        return urlsplit(self.events_url).scheme == "https"

    def client(self) -> httpx.AsyncClient:
        """A client with one connection, which closes with it, as HTTP/2 keeps it open otherwise."""
        return httpx.AsyncClient(
            http2=True, verify=self._ssl_context, timeout=httpx.Timeout(self.timeout, read=None)
        )

    @asynccontextmanager
    async def open(
        self, *, cursor: str = "", end_notice: str = "", encodings: str = READABLE
    ) -> AsyncIterator[ProbeStream]:
        """Raises `StreamTimeout` if not even a status comes, and `httpx.HTTPError`."""
        parameters = {"topic": self.topic} | ({"end_notice": end_notice} if end_notice else {})
        headers = {
            "Accept": "text/event-stream",
            "Cache-Control": "no-cache",
            "Accept-Encoding": encodings,
            **({"Last-Event-ID": cursor} if cursor else {}),
            **self.credentials,
        }
        async with self.client() as client:
            opened_at = time.monotonic()
            request = client.build_request(
                "GET", self.events_url, params=parameters, headers=headers
            )
            try:
                async with asyncio.timeout(self.timeout):
                    response = await client.send(request, stream=True)
            except TimeoutError:
                raise StreamTimeout from None
            stream = ProbeStream(response, self.timeout, opened_at)
            task = asyncio.create_task(stream.read())
            try:
                yield stream
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await response.aclose()

    async def publish(self, data: str) -> httpx.Response:
        async with self.client() as client:
            return await client.post(
                self.publish_url,
                json={"topic": self.topic, "data": data},
                headers=self.credentials,
                timeout=self.timeout,
            )

    async def request(self, method: str, **headers: str) -> httpx.Response:
        """The status and headers of a request for a stream. Raises `httpx.HTTPError`."""
        renamed = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client() as client, asyncio.timeout(self.timeout):
            request = client.build_request(
                method,
                self.events_url,
                params={"topic": self.topic},
                headers={"Accept": "text/event-stream", **self.credentials, **renamed},
            )
            response = await client.send(request, stream=True)
            await response.aclose()
        return response

    @property
    def credentials(self) -> dict[str, Any]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}


def _urls(url: str) -> tuple[str, str]:
    """The URLs of streams and of publishing, from this project's URLs or beside the URL given."""
    try:
        events, publish = reverse("carillon:events"), reverse("carillon:publish")
    except NoReverseMatch:
        events, publish = "/events/", "/publish/"
    if urlsplit(url).path in ("", "/"):
        return urljoin(url, events), urljoin(url, publish)
    parent = events.rstrip("/").rpartition("/")[0]
    return url, urljoin(url, ".." + publish.removeprefix(parent))

"""The service that is examined: streams from it as a browser opens them, and events into it."""

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

# What a browser takes; httpx reads the first two by itself.
ENCODINGS = "gzip, deflate, br, zstd"
READABLE = "gzip, deflate"
MOST_OF_A_BODY = 4096


class Silence(Exception):
    """Nothing came within the patience of the doctor."""


class Ended(Exception):
    """The stream is over, and this is how."""


@dataclass
class Listener:
    """An open stream. What it says is taken out of it as it comes, and waits here."""

    response: httpx.Response
    patience: float
    began: float
    first: float = 0.0
    body: bytearray = field(default_factory=bytearray)
    _heard: asyncio.Queue[ServerSentEvent | Ended] = field(default_factory=asyncio.Queue)

    async def next(self, *, within: float | None = None) -> ServerSentEvent:
        """Raises `Silence` or `Ended`."""
        try:
            async with asyncio.timeout(self.patience if within is None else within):
                said = await self._heard.get()
        except TimeoutError:
            raise Silence from None
        if isinstance(said, Ended):
            self._heard.put_nowait(said)
            raise said
        return said

    async def event(self, data: str) -> ServerSentEvent:
        """The event with that data, and no later than one should come. Raises as `next`."""
        deadline = time.monotonic() + self.patience
        while True:
            said = await self.next(within=max(0.0, deadline - time.monotonic()))
            if said.data == data and not said.type.startswith("stream."):
                return said

    async def listen(self) -> None:
        decoder = Decoder()
        try:
            async for piece in self.response.aiter_bytes():
                self.first = self.first or time.monotonic()
                self.body += piece[: MOST_OF_A_BODY - len(self.body)]
                for event in decoder.feed(piece):
                    self._heard.put_nowait(event)
            self._heard.put_nowait(Ended("it was ended in good order"))
        except httpx.HTTPError as error:
            self._heard.put_nowait(Ended(f"it was cut ({type(error).__name__})"))


class Patient:
    """`url` is the site's, or that of its streams. Without a `topic`, only the key's own is used.

    The topic that is used is one beneath it that nobody else has ever heard of.
    """

    def __init__(self, url: str, *, topic: str | None, key: str | None, patience: float) -> None:
        self.key = key
        self.patience = patience
        self._trust = httpx.create_ssl_context()  # once: it takes longer than a stream to open
        self.events_url, self.publish_url = _urls(url)
        self.topic = f"{(topic or 'doctor').rstrip('.')}.doctor-{secrets.token_hex(8)}"

    @property
    def is_secure(self) -> bool:
        return urlsplit(self.events_url).scheme == "https"

    def client(self) -> httpx.AsyncClient:
        """One connection, which ends with it: a stream of HTTP/2 is left by leaving both."""
        return httpx.AsyncClient(
            http2=True, verify=self._trust, timeout=httpx.Timeout(self.patience, read=None)
        )

    @asynccontextmanager
    async def open(
        self, *, cursor: str = "", end_notice: str = "", encodings: str = READABLE
    ) -> AsyncIterator[Listener]:
        """Raises `Silence` if not even a status comes, and `httpx.HTTPError`."""
        parameters = {"topic": self.topic} | ({"witness": end_notice} if end_notice else {})
        headers = {
            "Accept": "text/event-stream",
            "Cache-Control": "no-cache",
            "Accept-Encoding": encodings,
            **({"Last-Event-ID": cursor} if cursor else {}),
            **self.credentials,
        }
        async with self.client() as client:
            began = time.monotonic()
            request = client.build_request(
                "GET", self.events_url, params=parameters, headers=headers
            )
            try:
                async with asyncio.timeout(self.patience):
                    response = await client.send(request, stream=True)
            except TimeoutError:
                raise Silence from None
            listener = Listener(response, self.patience, began)
            task = asyncio.create_task(listener.listen())
            try:
                yield listener
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await response.aclose()

    async def publish(self, data: str, *, topic: str = "") -> httpx.Response:
        async with self.client() as client:
            return await client.post(
                self.publish_url,
                json={"topic": topic or self.topic, "data": data},
                headers=self.credentials,
                timeout=self.patience,
            )

    async def ask(self, method: str, **headers: str) -> httpx.Response:
        """A request for a stream of which only the head is wanted. Raises `httpx.HTTPError`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client() as client, asyncio.timeout(self.patience):
            request = client.build_request(
                method,
                self.events_url,
                params={"topic": self.topic},
                headers={"Accept": "text/event-stream", **self.credentials, **named},
            )
            response = await client.send(request, stream=True)
            await response.aclose()
        return response

    @property
    def credentials(self) -> dict[str, Any]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}


def _urls(url: str) -> tuple[str, str]:
    """Those of streams and of publishing: as this project has them, or as the URL says."""
    try:
        events, publish = reverse("carillon:events"), reverse("carillon:publish")
    except NoReverseMatch:
        events, publish = "/events/", "/publish/"
    if urlsplit(url).path in ("", "/"):
        return urljoin(url, events), urljoin(url, publish)
    last = events.rstrip("/").rpartition("/")[0]
    return url, urljoin(url, ".." + publish.removeprefix(last))

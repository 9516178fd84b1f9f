"""The site that the doctor probes: opens its streams as a browser does, and publishes events."""

import asyncio
import os
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import certifi
import httpx
from django.urls import NoReverseMatch, reverse

from notifications.access.identities.headers import KEY_HEADER
from notifications.sse import Decoder, ServerSentEvent

# The encodings that a browser accepts, and those of them that httpx can read by itself.
ENCODINGS = "gzip, deflate, br, zstd"
READABLE = "gzip, deflate"
MAX_BODY_BYTES = 4096
HTTP1 = "http/1.1"


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


class BrowserSSLContext(ssl.SSLContext):
    """Offers HTTP/2 before HTTP/1.1, as browsers do: some proxies take what is offered first.

    httpx offers it last.
    """

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        super().set_alpn_protocols(sorted(alpn_protocols, key=HTTP1.__eq__))


def browser_ssl_context() -> BrowserSSLContext:
    """A context that trusts the authorities that httpx trusts."""
    context = BrowserSSLContext(ssl.PROTOCOL_TLS_CLIENT)
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    context.load_verify_locations(file or (None if folder else certifi.where()), folder or None)
    return context


class Target:
    """`url` is the site's URL, or that of its streams.

    The probe's topic is a random one below `topic`, or below `doctor`: nobody else uses it.
    """

    def __init__(
        self,
        url: str,
        *,
        topic: str | None,
        key: str | None,
        timeout: float,
        http2: bool = True,
    ) -> None:
        self.key = key
        self.timeout = timeout
        self.headers: Mapping[str, str] = {}
        """The headers of the last stream."""
        self.http2 = http2
        self._ssl_context = browser_ssl_context()  # slower to make than a stream is to open
        self.events_url, self.publish_url = _urls(url)
        self.topic = f"{(topic or 'doctor').rstrip('.')}.doctor-{secrets.token_hex(8)}"

    @property
    def is_secure(self) -> bool:
        return urlsplit(self.events_url).scheme == "https"

    def client(self) -> httpx.AsyncClient:
        """A client with one connection, which closes with it, as HTTP/2 keeps it open otherwise."""
        return httpx.AsyncClient(
            http2=self.http2,
            verify=self._ssl_context,
            timeout=httpx.Timeout(self.timeout, read=None),
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
            self.headers = response.headers
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

    async def exchange(self, data: bytes) -> bytes:
        """The answer to these bytes, on a connection of their own.

        Raises `OSError` and `TimeoutError`.
        """
        url = urlsplit(self.events_url)
        self._ssl_context.set_alpn_protocols([HTTP1])  # httpx sets others for each connection
        async with asyncio.timeout(self.timeout):
            reader, writer = await asyncio.open_connection(
                url.hostname,
                url.port or (443 if self.is_secure else 80),
                ssl=self._ssl_context if self.is_secure else None,
            )
            try:
                writer.write(data)
                return await reader.read(MAX_BODY_BYTES)
            finally:
                writer.close()

    @property
    def credentials(self) -> dict[str, Any]:
        if not self.key:
            return {}
        if urlsplit(self.events_url).username:  # then a proxy in front needs Authorization
            return {KEY_HEADER: self.key}
        return {"Authorization": f"Bearer {self.key}"}


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

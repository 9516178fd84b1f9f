"""An ASGI server with one connection, which the test controls."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from notifications.sse import Decoder, ServerSentEvent
from notifications.transport.base import Message

DEADLINE_SECONDS = 60.0

type Application = Callable[[Any, Any, Any], Awaitable[None]]


class Connection:
    """A request of `path`. Leaving the block disconnects and waits until the application returns.

    With `max_unread`, `send` waits while the test has not read so many messages.
    """

    def __init__(
        self,
        application: Application,
        path: str,
        *,
        method: str = "GET",
        cookie: str = "",
        accept_encoding: str = "identity",
        max_unread: int = 0,
    ) -> None:
        path, _, query = path.partition("?")
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [
                (b"host", b"testserver"),
                (b"cookie", cookie.encode()),
                (b"accept-encoding", accept_encoding.encode()),
                (b"x-request-id", b"of-the-test"),
            ],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        self._application = application
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._sent: asyncio.Queue[Message] = asyncio.Queue(max_unread)
        self._decoder = Decoder()
        self._events: list[ServerSentEvent] = []
        self.client_reads = asyncio.Event()
        self.client_reads.set()
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []

    async def __aenter__(self) -> Self:
        self._incoming.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        self.task = asyncio.ensure_future(
            self._application(self.scope, self._incoming.get, self._send)
        )
        start = await self.message()
        assert start["type"] == "http.response.start"
        self.status = start["status"]
        self.headers = start["headers"]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.disconnect()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self.task

    async def _send(self, message: Message) -> None:
        await self.client_reads.wait()
        await self._sent.put(message)

    def disconnect(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def message(self) -> Message:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._sent.get()

    async def event(self) -> ServerSentEvent:
        """The next event. Raises `EOFError` at the end of the stream."""
        while not self._events:
            message = await self.message()
            self._events += self._decoder.feed(message.get("body", b""))
            if not self._events and not message.get("more_body", False):
                raise EOFError
        return self._events.pop(0)

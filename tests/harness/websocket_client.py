"""A WebSocket client without a server: it calls the application by Channels' communicator."""

import asyncio
import json
from collections import defaultdict
from types import TracebackType
from typing import Any, Self

from channels.testing import WebsocketCommunicator

from notifications.websocket.protocol import SUBPROTOCOL

DEADLINE_SECONDS = 60.0

type Received = tuple[str | None, dict[str, Any]]
"""The id of a subscription, and a message about it."""


class WithScope:
    """The application behind a server or middleware that adds entries to the scope."""

    def __init__(self, application: Any, **entries: Any) -> None:
        self._application = application
        self._entries = entries

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._application({**scope, **self._entries}, receive, send)


class WebSocketClient:
    """Connects in its block. The end of the block disconnects and awaits the application."""

    def __init__(
        self,
        application: Any,
        *,
        query: str = "",
        subprotocols: tuple[str, ...] = (SUBPROTOCOL,),
        **headers: str,
    ) -> None:
        all_headers = {"host": "testserver", **headers}
        self._communicator = WebsocketCommunicator(
            application,
            f"/ws/events/?{query}",
            headers=[(name.encode(), value.encode()) for name, value in all_headers.items()],
            subprotocols=list(subprotocols),
        )
        self._ready: list[Received] = []
        self.received_data: dict[str | None, list[Any]] = defaultdict(list)
        """The data of all events so far, by subscription."""
        self.accepted = False
        self.subprotocol: str | None = None

    async def __aenter__(self) -> Self:
        self.accepted, self.subprotocol = await self._communicator.connect(timeout=DEADLINE_SECONDS)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._communicator.disconnect(timeout=DEADLINE_SECONDS)

    async def send(self, **command: Any) -> None:
        await self.send_text(json.dumps(command))

    async def send_text(self, text: str) -> None:
        await self._communicator.send_to(text_data=text)

    async def send_bytes(self, data: bytes) -> None:
        await self._communicator.send_to(bytes_data=data)

    async def subscribe(self, id: str, *topics: str, **fields: str) -> dict[str, Any]:
        """Subscribe, and return the `subscribed` message."""
        await self.send(type="subscribe", id=id, topics=list(topics), **fields)
        return await self.message(id, "subscribed")

    async def output(self) -> dict[str, Any]:
        message: dict[str, Any] = await self._communicator.receive_output(DEADLINE_SECONDS)
        return message

    async def next(self) -> Received:
        """The next message, and the id of its subscription."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not self._ready:
                message = await self.output()
                assert message["type"] == "websocket.send", message
                frame = json.loads(message["text"])
                self._ready += [(frame["id"], message) for message in frame["messages"]]
        id, received = self._ready.pop(0)
        if received["type"] == "event":
            self.received_data[id].append(received["event"]["data"])
        return id, received

    async def message(self, id: str | None, type: str) -> dict[str, Any]:
        """The next message of this type about this subscription. Others are skipped."""
        while True:
            about, received = await self.next()
            if about == id and received["type"] == type:
                return received

    async def data(self, id: str, count: int) -> list[Any]:
        """The data of the first events of this subscription."""
        while len(self.received_data[id]) < count:
            await self.next()
        return self.received_data[id][:count]

    async def close_code(self) -> tuple[int, str]:
        """The code and the reason of the close. Messages before the close are skipped."""
        while (message := await self.output())["type"] != "websocket.close":
            pass
        return message["code"], message["reason"]

"""A client of our WebSockets in the test's own hands, by Channels' communicator."""

import asyncio
import json
from collections import defaultdict
from types import TracebackType
from typing import Any, Self

from channels.testing import WebsocketCommunicator

from notifications.websocket.protocol import SUBPROTOCOL

DEADLINE = 10.0

type Said = tuple[str | None, dict[str, Any]]


class Within:
    """The application, with what a server or a middleware in front of it adds to the scope."""

    def __init__(self, application: Any, **added: Any) -> None:
        self._application = application
        self._added = added

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._application({**scope, **self._added}, receive, send)


class Client:
    """Leaving the block disconnects, and waits for the application's end."""

    def __init__(
        self,
        application: Any,
        *,
        query: str = "",
        subprotocols: tuple[str, ...] = (SUBPROTOCOL,),
        **headers: str,
    ) -> None:
        sent = {"host": "testserver", **headers}
        self._communicator = WebsocketCommunicator(
            application,
            f"/ws/events/?{query}",
            headers=[(name.encode(), value.encode()) for name, value in sent.items()],
            subprotocols=list(subprotocols),
        )
        self._ready: list[Said] = []
        self.heard: dict[str | None, list[Any]] = defaultdict(list)
        """The data of all events so far, by subscription."""
        self.accepted = False
        self.subprotocol: str | None = None

    async def __aenter__(self) -> Self:
        self.accepted, self.subprotocol = await self._communicator.connect(timeout=DEADLINE)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._communicator.disconnect(timeout=DEADLINE)

    async def send(self, **command: Any) -> None:
        await self.send_text(json.dumps(command))

    async def send_text(self, text: str) -> None:
        await self._communicator.send_to(text_data=text)

    async def send_bytes(self, data: bytes) -> None:
        await self._communicator.send_to(bytes_data=data)

    async def subscribe(self, id: str, *topics: str, **more: str) -> dict[str, Any]:
        """What is said of it first but for keep-alives of an earlier one."""
        await self.send(type="subscribe", id=id, topics=list(topics), **more)
        return await self.about(id, "subscribed")

    async def output(self) -> dict[str, Any]:
        message: dict[str, Any] = await self._communicator.receive_output(DEADLINE)
        return message

    async def next(self) -> Said:
        """The next thing said, and of which subscription."""
        async with asyncio.timeout(DEADLINE):
            while not self._ready:
                message = await self.output()
                assert message["type"] == "websocket.send", message
                frame = json.loads(message["text"])
                self._ready += [(frame["id"], each) for each in frame["messages"]]
        id, said = self._ready.pop(0)
        if said["type"] == "event":
            self.heard[id].append(said["event"]["data"])
        return id, said

    async def about(self, id: str | None, type: str) -> dict[str, Any]:
        """The next of this type about this subscription; what else is said is left out."""
        while True:
            of, said = await self.next()
            if of == id and said["type"] == type:
                return said

    async def data(self, id: str, count: int) -> list[Any]:
        """The data of its first events."""
        while len(self.heard[id]) < count:
            await self.next()
        return self.heard[id][:count]

    async def close_code(self) -> tuple[int, str]:
        """How the connection ends; what is said before is left out."""
        while (message := await self.output())["type"] != "websocket.close":
            pass
        return message["code"], message["reason"]

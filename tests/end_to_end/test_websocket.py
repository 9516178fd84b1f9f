"""WebSockets of real servers, with the client of the package `websockets`."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.end_to_end.conftest import ALLOWED_ORIGIN, Pair
from tests.end_to_end.test_handoff import MAKE_USERS, at_rest, settled
from tests.harness.servers import PUBLISH_KEY, WebServer, manage, migrate
from tests.harness.tokens import token

DEADLINE_SECONDS = 60.0


class Client:
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._messages: list[tuple[str | None, dict[str, Any]]] = []

    async def subscribe(self, id: str, *topics: str, **more: Any) -> dict[str, Any]:
        command = {"type": "subscribe", "id": id, "topics": list(topics), **more}
        await self.connection.send(json.dumps(command))
        return await self.about(id, "subscribed", "error")

    async def about(self, id: str | None, *types: str) -> dict[str, Any]:
        """The next message of these types; other messages meanwhile are dropped."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                while not self._messages:
                    frame = json.loads(await self.connection.recv())
                    self._messages += [(frame["id"], each) for each in frame["messages"]]
                subscription, message = self._messages.pop(0)
                if subscription == id and message["type"] in types:
                    return message

    async def data(self, id: str) -> Any:
        return (await self.about(id, "event"))["event"]["data"]


@asynccontextmanager
async def connected(
    server: WebServer, query: str = "", *, host: str = "127.0.0.1", **options: Any
) -> AsyncIterator[Client]:
    url = f"ws://{host}:{server.port}/ws/events/?{query}"
    options = {
        "host": "127.0.0.1",
        "subprotocols": [Subprotocol("carillon.v1")],
        "open_timeout": DEADLINE_SECONDS,
        **options,
    }
    async with connect(url, **options) as connection:
        assert connection.subprotocol == (options["subprotocols"] or [None])[0]
        yield Client(connection)


async def published(server: WebServer, *events: dict[str, Any]) -> list[str]:
    status, answer = await asyncio.to_thread(server.publish, list(events))
    assert status == 201, answer
    return [event["cursor"] for event in answer["events"]]


async def test_an_event_published_at_one_process_is_received_at_the_other(
    pair: Pair, topic: str
) -> None:
    async with connected(pair.other) as client:
        await client.subscribe("a", topic)
        [cursor] = await published(pair.one, {"topic": topic, "data": {"n": 1}, "type": "note"})
        message = await client.about("a", "event")
        assert message["cursor"] == cursor
        assert (message["event"]["type"], message["event"]["data"]) == ("note", {"n": 1})


async def test_a_subscription_resumes_at_the_other_process(pair: Pair, topic: str) -> None:
    async with connected(pair.one) as client:
        await client.subscribe("a", topic)
        cursor = (await client.about("a", "cursor"))["cursor"]
    events = [{"topic": topic, "data": number} for number in range(50)]
    await published(pair.one, *events)
    async with connected(pair.other) as client:
        await client.subscribe("a", topic, cursor=cursor)
        assert [await client.data("a") for _ in events] == list(range(50))


async def test_topics_change_while_events_come(pair: Pair, topic: str) -> None:
    events = [{"topic": topic, "data": number} for number in range(300)]
    async with connected(pair.other) as client:
        await client.subscribe("a", topic)
        publishing = [
            asyncio.create_task(published(pair.one, *events[at : at + 30]))
            for at in range(0, 300, 30)
        ]
        received: list[int] = []
        for number in range(20):
            command = {"type": "subscribe", "id": "a", "topics": [topic, f"{topic}.{number}"]}
            await client.connection.send(json.dumps(command))
        while len(received) < 300:
            received.append(await client.data("a"))
        await asyncio.gather(*publishing)
    assert sorted(received) == list(range(300))
    for at in range(0, 300, 30):  # each batch is adjacent, in any order of the batches
        first = received.index(at)
        assert received[first : first + 30] == list(range(at, at + 30))


async def test_a_token_in_the_header_opens_the_topics_that_it_names(pair: Pair) -> None:
    bearer = {"Authorization": f"Bearer {token(header={'kid': 'default'})}"}
    async with connected(pair.one, additional_headers=bearer) as client:
        message = await client.subscribe("a", "orders.1")
        assert message == {"type": "subscribed", "topics": ["orders.1"]}
        assert (await client.subscribe("b", "payments"))["code"] == "forbidden"
    bearer = {"Authorization": f"Bearer {PUBLISH_KEY}x"}
    async with connected(pair.one, additional_headers=bearer) as client:
        assert (await client.subscribe("a", "orders.1"))["code"] == "unauthenticated"


async def test_pages_of_other_origins_are_refused_unless_they_are_listed(pair: Pair) -> None:
    own = f"http://127.0.0.1:{pair.one.port}"
    for origin in own, ALLOWED_ORIGIN:
        async with connected(pair.one, origin=origin) as client:
            await client.subscribe("a", "demo.a")
    for origin in "https://evil.example", "null", f"{ALLOWED_ORIGIN}.evil.example":
        with pytest.raises(InvalidStatus) as refused:
            await connected(pair.one, origin=origin).__aenter__()
        assert refused.value.response.status_code == 403


async def test_a_path_that_leads_nowhere_is_refused(pair: Pair) -> None:
    before = len(pair.one.log.read_text())  # earlier tests may have caused errors on purpose
    with pytest.raises(InvalidStatus) as refused:
        await connect(
            f"ws://127.0.0.1:{pair.one.port}/ws/elsewhere/", open_timeout=DEADLINE_SECONDS
        )
    assert refused.value.response.status_code == 403
    assert "Traceback" not in pair.one.log.read_text()[before:]


IDLE = 20
THREADS = 8
"""The thread of the loop, the one in which Channels reads sessions, and those that earlier tests
left in pools: far fewer than one for each stream."""


async def test_an_idle_websocket_holds_no_thread_and_no_database(pair: Pair, topic: str) -> None:
    folder, nowhere = pair.one.log.parent, "redis://127.0.0.1:1/0"
    await asyncio.to_thread(migrate, folder)
    code = MAKE_USERS % IDLE
    printed = await asyncio.to_thread(
        manage, "shell", "-v0", "-c", code, redis_url=nowhere, folder=folder
    )
    async with AsyncExitStack() as stack:
        clients = []
        for pk, session in json.loads(printed):
            cookie = {"Cookie": f"sessionid={session}"}
            opening = connected(pair.one, additional_headers=cookie)
            client = await stack.enter_async_context(opening)
            message = await client.subscribe("a", f"user.{pk}", topic)
            assert message["topics"] == [f"user.{pk}", topic]
            clients.append(client)
        resources = await settled(pair.one, at_rest(THREADS))
        assert resources.threads <= THREADS
        assert not any("sqlite" in file for file in resources.files)
        await published(pair.other, {"topic": topic, "data": "still"})
        assert [await client.data("a") for client in clients] == ["still"] * IDLE

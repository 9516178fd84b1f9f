"""Several transports on one connection: it is busy for all, and each one has its turn."""

import asyncio
import json
from typing import Any

import pytest

from notifications.hub.hub import Hub
from notifications.hub.subscribers import CloseReason, Start, Subscriber
from notifications.hub.window import Window
from notifications.log.entries import Retention
from notifications.transport.base import Message
from notifications.websocket.connection import WebSocketConnection, close_frame
from notifications.websocket.multiplex import Multiplexer, WebSocketTransport
from notifications.websocket.protocol import MESSAGE_ENCODER, encode_frame, encode_message
from tests.harness.fakes import EPOCH, batch, entry, settle

ALL = Start(since_ms=0)


class FakeClient:
    """Accepts a message, and the next one only once the test has `read` that."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.aborted = False
        self._pending: Any = None

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        self._pending = asyncio.get_running_loop().create_future()
        await self._pending

    async def read(self) -> None:
        self._pending.set_result(None)
        await settle()

    @property
    def frames(self) -> list[tuple[str | None, list[Any]]]:
        frames = [json.loads(message["text"]) for message in self.sent if "text" in message]
        return [(frame["id"], frame["messages"]) for frame in frames]


class FakeSession:
    """Sends closing messages as the real session does."""

    def __init__(self, multiplexer: Multiplexer) -> None:
        self._multiplexer = multiplexer

    def subscription_ended(self, transport: WebSocketTransport, reason: str) -> None:
        self._multiplexer.send(transport.id, MESSAGE_ENCODER.closing(reason))


class Scene:
    def __init__(self, events: int) -> None:
        window = Window(Retention(10_000, 10**9, 10**6))
        window.append(batch(0, *(entry(ms, data=b"x" * 40_000) for ms in range(1, events + 1))))
        self.hub = Hub(EPOCH, window)
        self.client = FakeClient()
        connection = WebSocketConnection(self.client.send, cancel=self._abort)
        self.multiplexer = Multiplexer(connection)
        self.multiplexer.session = FakeSession(self.multiplexer)

    def _abort(self) -> None:
        self.client.aborted = True

    async def join_when_free(self, id: str) -> Subscriber:
        await self.multiplexer.wait_until_free()
        return await self.join(id)

    async def join(self, id: str, start: Start = ALL) -> Subscriber:
        transport = self.multiplexer.transport(id, encode_message("subscribed"))
        return self.hub.subscribe(frozenset({"t"}), transport, start, encoder=MESSAGE_ENCODER)


async def test_one_chunk_at_a_time_is_sent_for_all_of_them() -> None:
    scene = Scene(events=6)
    a = await scene.join("a")
    assert a.transport.busy
    await settle()
    assert len(scene.client.frames) == 1
    assert scene.multiplexer.transport("b", b"").busy
    await scene.client.read()
    assert len(scene.client.frames) == 2


async def test_a_new_subscription_comes_before_a_long_history_and_then_they_alternate() -> None:
    scene = Scene(events=6)
    await scene.join("a")
    joining = asyncio.create_task(scene.join_when_free("b"))
    await settle()
    for _ in range(11):
        await scene.client.read()
    await joining
    assert [id for id, _ in scene.client.frames] == ["a", *"babababababa"][:12]


async def test_an_unsubscribed_transport_writes_nothing_more() -> None:
    scene = Scene(events=6)
    a = await scene.join("a")
    scene.hub.leave(a, CloseReason.CLIENT_LEFT)
    assert isinstance(a.transport, WebSocketTransport)
    scene.multiplexer.discard(a.transport)
    await scene.client.read()
    assert len(scene.client.frames) == 1
    assert not scene.multiplexer.busy


async def test_a_connection_that_is_too_slow_is_aborted_with_all_subscriptions() -> None:
    scene = Scene(events=6)
    a = await scene.join("a")
    await scene.hub.close_slow_subscribers(deadline=0)
    assert not a.open
    assert scene.client.aborted
    assert scene.multiplexer.closed


async def test_a_closing_message_of_one_leaves_the_others_open() -> None:
    scene = Scene(events=1)
    a = await scene.join("a", Start())
    await scene.client.read()
    scene.hub.close(a, CloseReason.KICKED)
    assert scene.client.frames[-1] == ("a", [{"type": "closing", "reason": "kicked"}])
    await scene.client.read()
    assert not scene.multiplexer.closed


async def test_a_close_waits_for_the_message_under_way() -> None:
    scene = Scene(events=1)
    await scene.join("a")
    scene.multiplexer.close(1012, "draining")
    assert len(scene.client.sent) == 1
    await scene.client.read()
    closing = {"type": "websocket.close", "code": 1012, "reason": "draining"}
    assert scene.client.sent[-1] == closing
    assert scene.multiplexer.busy


@pytest.mark.parametrize("id", ["a", None, 'quote"', "\u2028", "\U0001f600"])
def test_a_frame_is_json_for_any_id(id: str | None) -> None:
    decoded = json.loads(encode_frame(id, encode_message("x", n=1) + encode_message("y")))
    assert decoded == {"id": id, "messages": [{"type": "x", "n": 1}, {"type": "y"}]}


def test_a_close_frame_is_as_in_rfc_6455() -> None:
    assert close_frame(1012, "draining") == b"\x88\x0a\x03\xf4draining"

"""Several wires on one carrier: it is busy for all of them, and each has its turn."""

import asyncio
import json
from typing import Any

import pytest

from notifications.hub.hub import Hub
from notifications.hub.subscribers import CloseReason, Start, Subscriber
from notifications.hub.window import Window
from notifications.log.base import Retention
from notifications.transport.base import Message
from notifications.websocket.connection import Carrier, close_frame
from notifications.websocket.multiplex import Socket, WebSocketTransport
from notifications.websocket.protocol import MESSAGES, frame, piece
from tests.harness.fakes import EPOCH, batch, entry
from tests.unit.hub.test_hub import settle

ALL = Start(since_ms=0)


class Client:
    """Takes one message, and the next when it has `read` that."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.given_up = False
        self._reads: Any = None

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        self._reads = asyncio.get_running_loop().create_future()
        await self._reads

    async def read(self) -> None:
        self._reads.set_result(None)
        await settle()

    @property
    def frames(self) -> list[tuple[str | None, list[Any]]]:
        texts = [json.loads(each["text"]) for each in self.sent if "text" in each]
        return [(each["id"], each["messages"]) for each in texts]


class Ends:
    """Says last words as the conversation does."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    def ended(self, transport: WebSocketTransport, reason: str) -> None:
        self._socket.say(transport.id, MESSAGES.closing(reason))


class Scene:
    def __init__(self, events: int) -> None:
        window = Window(Retention(10_000, 10**9, 10**6))
        window.append(batch(0, *(entry(ms, data=b"x" * 40_000) for ms in range(1, events + 1))))
        self.hub = Hub(EPOCH, window)
        self.client = Client()
        self.socket = Socket(Carrier(self.client.send, give_up=self._give_up))
        self.socket.listener = Ends(self.socket)

    def _give_up(self) -> None:
        self.client.given_up = True

    async def join_when_free(self, id: str) -> Subscriber:
        await self.socket.free()
        return await self.join(id)

    async def join(self, id: str, start: Start = ALL) -> Subscriber:
        transport = self.socket.transport(id, piece("subscribed"))
        return self.hub.subscribe(frozenset({"t"}), transport, start, encoder=MESSAGES)


async def test_one_chunk_is_under_way_for_all_of_them() -> None:
    scene = Scene(events=6)
    a = await scene.join("a")
    assert a.transport.busy
    await settle()
    assert len(scene.client.frames) == 1
    assert scene.socket.transport("b", b"").busy
    await scene.client.read()
    assert len(scene.client.frames) == 2


async def test_who_joins_comes_before_a_long_history_and_then_each_has_its_turn() -> None:
    scene = Scene(events=6)
    await scene.join("a")
    joining = asyncio.create_task(scene.join_when_free("b"))
    await settle()
    for _ in range(11):
        await scene.client.read()
    await joining
    assert [id for id, _ in scene.client.frames] == ["a", *"babababababa"][:12]


async def test_an_unsubscribed_one_has_no_turn_any_more() -> None:
    scene = Scene(events=6)
    a = await scene.join("a")
    scene.hub.leave(a, CloseReason.CLIENT_LEFT)
    assert isinstance(a.transport, WebSocketTransport)
    scene.socket.discard(a.transport)
    await scene.client.read()
    assert len(scene.client.frames) == 1
    assert not scene.socket.busy


async def test_what_takes_too_long_is_cut_and_all_of_it_ends() -> None:
    scene = Scene(events=6)
    a = await scene.join("a")
    await scene.hub.close_the_slow(deadline=0)
    assert not a.open
    assert scene.client.given_up
    assert scene.socket.over


async def test_last_words_of_one_leave_the_others_be() -> None:
    scene = Scene(events=1)
    a = await scene.join("a", Start())
    await scene.client.read()
    scene.hub.close(a, CloseReason.KICKED)
    assert scene.client.frames[-1] == ("a", [{"type": "closing", "reason": "kicked"}])
    await scene.client.read()
    assert not scene.socket.over


async def test_a_close_waits_for_what_is_under_way() -> None:
    scene = Scene(events=1)
    await scene.join("a")
    scene.socket.close(1012, "draining")
    assert len(scene.client.sent) == 1
    await scene.client.read()
    closing = {"type": "websocket.close", "code": 1012, "reason": "draining"}
    assert scene.client.sent[-1] == closing
    assert scene.socket.busy


@pytest.mark.parametrize("id", ["a", None, 'quote"', "\u2028", "\U0001f600"])
def test_a_frame_is_json_whatever_the_name(id: str | None) -> None:
    whole = json.loads(frame(id, piece("x", n=1) + piece("y")))
    assert whole == {"id": id, "messages": [{"type": "x", "n": 1}, {"type": "y"}]}


def test_a_close_frame_is_what_the_standard_says() -> None:
    assert close_frame(1012, "draining") == b"\x88\x0a\x03\xf4draining"

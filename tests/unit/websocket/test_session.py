"""Several streams on one WebSocket: commands, order, ends, and what a client may do wrong."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.routing import URLRouter
from pytest_django import Settings as DjangoSettings

from notifications import apublish
from notifications.access.identities.signed_links import Link
from notifications.hub import runtime
from notifications.routing import websocket_urlpatterns
from notifications.websocket import session as conversation_module
from notifications.websocket.protocol import MAX_COMMAND, SUBPROTOCOL
from notifications.websocket.session import MAX_SUBSCRIPTIONS, MAX_WAITING
from tests.harness.websocket_client import Client

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

application = URLRouter(websocket_urlpatterns)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client(application) as connected:
        assert connected.accepted
        yield connected


async def publish(*topics: str, data: Any) -> str:
    event = await apublish(topics, data)
    assert event.cursor is not None
    return event.cursor


# Subscriptions


async def test_it_speaks_its_protocol_by_name(client: Client) -> None:
    assert client.subprotocol == SUBPROTOCOL


async def test_who_asks_for_no_protocol_gets_it_too_and_who_asks_for_another_is_refused() -> None:
    async with Client(application, subprotocols=()) as plain:
        assert (plain.accepted, plain.subprotocol) == (True, None)
        await plain.subscribe("a", "demo.a")
    async with Client(application, subprotocols=("carillon.v9",)) as other:
        assert not other.accepted


async def test_an_event_comes_whole_with_its_cursor(client: Client) -> None:
    said = await client.subscribe("a", "demo.a")
    assert said["topics"] == ["demo.a"]
    opening = await client.about("a", "cursor")
    event = await apublish(["demo.a", "demo.of-others"], {"n": 1}, type="note", id="the-first")
    said = await client.about("a", "event")
    assert said["cursor"] == event.cursor != opening["cursor"]
    envelope = said["event"]
    assert envelope.pop("time").endswith("+00:00")
    assert envelope == {"id": "the-first", "topics": ["demo.a"], "type": "note", "data": {"n": 1}}


@pytest.mark.parametrize(
    "data", ["line\nbreak\r\nand \u2028", '",\n"', "", "ü\U0001f514", [1, None]]
)
async def test_data_arrives_as_it_was(client: Client, data: Any) -> None:
    await client.subscribe("a", "demo.a")
    await publish("demo.a", data=data)
    assert await client.data("a", 1) == [data]


async def test_it_goes_on_after_a_cursor(client: Client) -> None:
    await client.subscribe("a", "demo.a")
    cursor = await publish("demo.a", data=0)
    for number in range(1, 4):
        await publish("demo.a", data=number)
    await client.data("a", 4)  # the window has them
    await client.subscribe("b", "demo.a", cursor=cursor)
    assert await client.data("b", 3) == [1, 2, 3]
    await client.subscribe("c", "demo.a", since="all")
    assert await client.data("c", 4) == [0, 1, 2, 3]


async def test_a_cursor_that_nobody_knows_is_reset_and_is_no_error(client: Client) -> None:
    await client.send(type="subscribe", id="a", topics=["demo.a"], cursor="nonsense")
    assert (await client.next())[1]["type"] == "subscribed"
    _, reset = await client.next()
    assert (reset["type"], reset["reason"]) == ("reset", "unknown")
    await publish("demo.a", data="after")
    assert await client.data("a", 1) == ["after"]


async def test_topics_change_in_one_step(client: Client) -> None:
    """Those that stay lose nothing and repeat nothing, those that come are there from then on."""
    await client.subscribe("a", "demo.stays")
    changing = asyncio.create_task(change_topics(client, 30))
    count = 0
    while not changing.done():
        await publish("demo.stays", data=count)
        count += 1
        await asyncio.sleep(0)
    await changing
    await publish("demo.other-29", data="of the last")
    await publish("demo.other-1", data="of one that went")
    await publish("demo.stays", data="end")
    assert await client.data("a", count + 2) == [*range(count), "of the last", "end"]
    assert count > 30


async def test_topics_change_in_the_middle_of_a_long_history(client: Client) -> None:
    numbers = list(range(40))
    for number in numbers:
        await publish("demo.stays", data=f"{number} {'x' * 5_000}")
    await client.subscribe("reader", "demo.stays", since="all")
    await client.data("reader", len(numbers))  # the window has them
    await client.send(type="subscribe", id="a", topics=["demo.stays"], since="all")
    await client.send(type="subscribe", id="a", topics=["demo.stays", "demo.new"])
    heard = await client.data("a", len(numbers))
    assert [int(data.split()[0]) for data in heard] == numbers


async def change_topics(client: Client, times: int) -> None:
    for number in range(times):
        await client.subscribe("a", "demo.stays", f"demo.other-{number}")


async def test_a_subscription_that_is_added_goes_on_from_a_place_of_its_own(client: Client) -> None:
    cursor = await publish("demo.b", data="early")
    await publish("demo.b", data="later")
    await client.subscribe("a", "demo.a")
    await client.subscribe("b", "demo.b", cursor=cursor)
    await publish("demo.a", "demo.b", data="both")
    assert await client.data("b", 2) == ["later", "both"]
    assert await client.data("a", 1) == ["both"]


async def test_unsubscribing_ends_one_and_leaves_the_others(client: Client) -> None:
    await client.subscribe("a", "demo.x")
    await client.subscribe("b", "demo.x")
    await client.send(type="unsubscribe", id="a")
    await client.about("a", "unsubscribed")
    await publish("demo.x", data="end")
    assert await client.data("b", 1) == ["end"]
    assert client.heard["a"] == []
    assert len(runtime.start().hub.subscribers) == 1


async def test_a_topic_that_is_refused_is_told_and_the_others_are_served(client: Client) -> None:
    said = await client.subscribe("a", "demo.a", "secret")
    assert said["topics"] == ["demo.a"]
    denied = await client.about("a", "denied")
    assert (denied["topics"], denied["reason"]) == (["secret"], "forbidden")


async def test_keep_alives_carry_the_place(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "KEEPALIVE": 0.1}
    async with Client(application) as client:
        await client.subscribe("a", "demo.a")
        await client.about("a", "cursor")
        cursor = await publish("demo.a", data=1)
        await client.data("a", 1)
        assert (await client.about("a", "cursor"))["cursor"] == cursor


# What a client does wrong


FAULTS = {
    "not JSON": "{",
    "no object": "[1]",
    "no type": '{"id": "a"}',
    "unknown type": '{"id": "a", "type": "publish"}',
    "no id": '{"type": "subscribe", "topics": ["demo.a"]}',
    "empty id": '{"type": "subscribe", "id": "", "topics": ["demo.a"]}',
    "unknown field": '{"type": "subscribe", "id": "a", "topic": "demo.a"}',
    "topics as text": '{"type": "subscribe", "id": "a", "topics": "demo.a"}',
    "no topic": '{"type": "subscribe", "id": "a", "topics": []}',
    "not a topic": '{"type": "subscribe", "id": "a", "topics": ["a\\nb"]}',
    "surrogate": '{"type": "subscribe", "id": "a", "topics": ["\\ud800"]}',
    "surrogate id": '{"type": "unsubscribe", "id": "\\ud800"}',
    "since": '{"type": "subscribe", "id": "a", "topics": ["demo.a"], "since": "soon"}',
    "nothing to end": '{"type": "unsubscribe", "id": "b"}',
    "deep": "[" * 20_000,
    "too many topics": json.dumps(
        {"type": "subscribe", "id": "a", "topics": [f"demo.{n}" for n in range(101)]}
    ),
    "too large": " " * (MAX_COMMAND + 1),
}


@pytest.mark.parametrize("text", FAULTS.values(), ids=FAULTS.keys())
async def test_a_command_that_is_none_is_told_and_nothing_is_lost(
    client: Client, text: str
) -> None:
    await client.subscribe("ok", "demo.ok")
    await client.send_text(text)
    while (said := await client.next())[1]["type"] != "error":
        pass
    assert said[1]["code"] in {"bad-request", "invalid", "too-large"}
    assert said[1]["detail"]
    await publish("demo.ok", data="still")
    assert await client.data("ok", 1) == ["still"]


async def test_a_fault_names_the_subscription_where_it_can_be_read(client: Client) -> None:
    await client.send(type="subscribe", id="mine", topics=["demo.a"], more=1)
    said = await client.about("mine", "error")
    assert said["detail"] == "more: Extra inputs are not permitted"


async def test_binary_messages_are_told_and_nothing_is_lost(client: Client) -> None:
    await client.subscribe("a", "demo.a")
    await client.send_bytes(b"\x00")
    assert (await client.about(None, "error"))["code"] == "bad-request"
    await publish("demo.a", data="still")
    assert await client.data("a", 1) == ["still"]


async def test_a_change_that_is_refused_leaves_what_there_was(client: Client) -> None:
    await client.subscribe("a", "demo.a")
    await client.send(type="subscribe", id="a", topics=["secret"])
    assert (await client.about("a", "error"))["code"] == "forbidden"
    await publish("demo.a", data="still")
    assert await client.data("a", 1) == ["still"]


async def test_there_are_only_so_many_subscriptions(client: Client) -> None:
    for number in range(MAX_SUBSCRIPTIONS):
        await client.subscribe(str(number), "demo.a")
    await client.send(type="subscribe", id="more", topics=["demo.a"])
    assert (await client.about("more", "error"))["code"] == "too-large"
    await client.subscribe("0", "demo.b")  # in place of one that there is


async def test_whoever_says_more_than_is_carried_out_is_closed(client: Client) -> None:
    for _ in range(MAX_WAITING + 2):
        await client.send(type="unsubscribe", id="x")
    assert await client.close_code() == (4429, "too_many_commands")


async def test_a_connection_without_a_subscription_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversation_module, "IDLE", 0.05)
    async with Client(application) as client:
        assert await client.close_code() == (4410, "no_subscription")


# Ends


async def test_leaving_leaves_nothing_behind() -> None:
    async with Client(application) as client:
        await client.subscribe("a", "demo.a")
        await client.subscribe("b", "demo.b")
        hub = runtime.start().hub
        assert len(hub.subscribers) == 2
    assert hub.subscribers == []


async def test_a_drain_tells_the_connection_once_and_closes_it(client: Client) -> None:
    await client.subscribe("a", "demo.a")
    await client.subscribe("b", "demo.b")
    await runtime.start().drain(over=0)
    assert (await client.about(None, "closing"))["reason"] == "draining"
    assert await client.output() == {"type": "websocket.close", "code": 1012, "reason": "draining"}


async def test_who_comes_during_a_drain_is_told_too(client: Client) -> None:
    await runtime.start().wait_ready(timeout=5)
    await runtime.start().drain(over=0)
    await client.send(type="subscribe", id="a", topics=["demo.a"])
    assert (await client.about(None, "closing"))["reason"] == "draining"
    assert await client.close_code() == (1012, "draining")


async def test_the_end_of_the_process_closes_it(client: Client) -> None:
    await client.subscribe("a", "demo.a")
    await runtime.stop()
    assert (await client.about(None, "closing"))["reason"] == "stopping"
    assert await client.close_code() == (1001, "stopping")


async def test_a_link_opens_its_topics_until_it_ends() -> None:
    link = Link(int(time.time() + 2), ("orders.1",)).signed()
    async with Client(application, query=f"link={link}") as client:
        said = await client.subscribe("a")
        assert said["topics"] == ["orders.1"]
        assert (await client.about("a", "closing"))["reason"] == "expired"
        await client.send(type="subscribe", id="a")
        assert (await client.about("a", "error"))["code"] == "unauthenticated"

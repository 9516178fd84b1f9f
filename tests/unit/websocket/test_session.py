"""Several subscriptions on one WebSocket: commands, order, ends, and faults of a client."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from channels.routing import URLRouter
from pytest_django import Settings as DjangoSettings

from notifications import apublish
from notifications.access.identities.signed_links import Link
from notifications.hub import runtime
from notifications.routing import websocket_urlpatterns
from notifications.websocket.application import events
from notifications.websocket.protocol import MAX_COMMAND_CHARACTERS, SUBPROTOCOL
from notifications.websocket.session import MAX_PENDING_COMMANDS, MAX_SUBSCRIPTIONS
from tests.harness.websocket_client import WebSocketClient

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

application = URLRouter(websocket_urlpatterns)


@pytest.fixture
async def client() -> AsyncIterator[WebSocketClient]:
    async with WebSocketClient(application) as connected:
        assert connected.accepted
        yield connected


async def publish(*topics: str, data: Any) -> str:
    event = await apublish(topics, data)
    assert event.cursor is not None
    return event.cursor


# Subscriptions


async def test_the_subprotocol_is_named(client: WebSocketClient) -> None:
    assert client.subprotocol == SUBPROTOCOL


async def test_a_client_may_name_no_subprotocol_but_not_another_one() -> None:
    async with WebSocketClient(application, subprotocols=()) as plain:
        assert (plain.accepted, plain.subprotocol) == (True, None)
        await plain.subscribe("a", "demo.a")
    async with WebSocketClient(application, subprotocols=("carillon.v9",)) as other:
        assert not other.accepted


async def test_an_event_comes_whole_with_its_cursor(client: WebSocketClient) -> None:
    subscribed = await client.subscribe("a", "demo.a")
    assert subscribed["topics"] == ["demo.a"]
    opening = await client.message("a", "cursor")
    event = await apublish(["demo.a", "demo.of-others"], {"n": 1}, type="note", id="the-first")
    received = await client.message("a", "event")
    assert received["cursor"] == event.cursor != opening["cursor"]
    envelope = received["event"]
    assert envelope.pop("time").endswith("+00:00")
    assert envelope == {"id": "the-first", "topics": ["demo.a"], "type": "note", "data": {"n": 1}}


@pytest.mark.parametrize(
    "data", ["line\nbreak\r\nand \u2028", '",\n"', "", "ü\U0001f514", [1, None]]
)
async def test_data_arrives_as_it_was(client: WebSocketClient, data: Any) -> None:
    await client.subscribe("a", "demo.a")
    await publish("demo.a", data=data)
    assert await client.data("a", 1) == [data]


async def test_a_subscription_resumes_after_a_cursor(client: WebSocketClient) -> None:
    await client.subscribe("a", "demo.a")
    cursor = await publish("demo.a", data=0)
    for number in range(1, 4):
        await publish("demo.a", data=number)
    await client.data("a", 4)  # now they are in the window
    await client.subscribe("b", "demo.a", cursor=cursor)
    assert await client.data("b", 3) == [1, 2, 3]
    await client.subscribe("c", "demo.a", since="all")
    assert await client.data("c", 4) == [0, 1, 2, 3]


async def test_an_unknown_cursor_gets_a_reset_and_no_error(client: WebSocketClient) -> None:
    await client.send(type="subscribe", id="a", topics=["demo.a"], cursor="nonsense")
    assert (await client.next())[1]["type"] == "subscribed"
    _, reset = await client.next()
    assert (reset["type"], reset["reason"]) == ("reset", "unknown")
    await publish("demo.a", data="after")
    assert await client.data("a", 1) == ["after"]


async def test_topics_change_in_one_step(client: WebSocketClient) -> None:
    """Topics that stay miss and repeat nothing; events of new topics arrive from then on."""
    await client.subscribe("a", "demo.stays")
    changing = asyncio.create_task(change_topics(client, 30))
    count = 0
    while not changing.done():
        await publish("demo.stays", data=count)
        count += 1
        await asyncio.sleep(0)
    await changing
    await publish("demo.other-29", data="of the last")
    await publish("demo.other-1", data="of a removed topic")
    await publish("demo.stays", data="end")
    assert await client.data("a", count + 2) == [*range(count), "of the last", "end"]
    assert count > 30


async def test_topics_change_in_the_middle_of_a_long_history(client: WebSocketClient) -> None:
    numbers = list(range(40))
    for number in numbers:
        await publish("demo.stays", data=f"{number} {'x' * 5_000}")
    await client.subscribe("reader", "demo.stays", since="all")
    await client.data("reader", len(numbers))  # now they are in the window
    await client.send(type="subscribe", id="a", topics=["demo.stays"], since="all")
    await client.send(type="subscribe", id="a", topics=["demo.stays", "demo.new"])
    received = await client.data("a", len(numbers))
    assert [int(data.split()[0]) for data in received] == numbers


async def change_topics(client: WebSocketClient, times: int) -> None:
    for number in range(times):
        await client.subscribe("a", "demo.stays", f"demo.other-{number}")


async def test_another_subscription_has_its_own_position(client: WebSocketClient) -> None:
    cursor = await publish("demo.b", data="early")
    await publish("demo.b", data="later")
    await client.subscribe("a", "demo.a")
    await client.subscribe("b", "demo.b", cursor=cursor)
    await publish("demo.a", "demo.b", data="both")
    assert await client.data("b", 2) == ["later", "both"]
    assert await client.data("a", 1) == ["both"]


async def test_unsubscribing_ends_one_and_leaves_the_others(client: WebSocketClient) -> None:
    await client.subscribe("a", "demo.x")
    await client.subscribe("b", "demo.x")
    await client.send(type="unsubscribe", id="a")
    await client.message("a", "unsubscribed")
    await publish("demo.x", data="end")
    assert await client.data("b", 1) == ["end"]
    assert client.received_data["a"] == []
    assert len(runtime.start().hub.subscribers) == 1


async def test_a_refused_topic_is_reported_and_the_others_are_served(
    client: WebSocketClient,
) -> None:
    subscribed = await client.subscribe("a", "demo.a", "secret")
    assert subscribed["topics"] == ["demo.a"]
    denied = await client.message("a", "denied")
    assert (denied["topics"], denied["reason"]) == (["secret"], "forbidden")


async def test_keep_alives_carry_the_cursor(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "KEEPALIVE": 0.1}
    async with WebSocketClient(application) as client:
        await client.subscribe("a", "demo.a")
        await client.message("a", "cursor")
        cursor = await publish("demo.a", data=1)
        await client.data("a", 1)
        assert (await client.message("a", "cursor"))["cursor"] == cursor


# Faults of a client


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
    "no subscription": '{"type": "unsubscribe", "id": "b"}',
    "deep": "[" * 20_000,
    "too many topics": json.dumps(
        {"type": "subscribe", "id": "a", "topics": [f"demo.{n}" for n in range(101)]}
    ),
    "too large": " " * (MAX_COMMAND_CHARACTERS + 1),
}


@pytest.mark.parametrize("text", FAULTS.values(), ids=FAULTS.keys())
async def test_an_invalid_command_is_reported_and_nothing_is_lost(
    client: WebSocketClient, text: str
) -> None:
    await client.subscribe("ok", "demo.ok")
    await client.send_text(text)
    while (received := await client.next())[1]["type"] != "error":
        pass
    assert received[1]["code"] in {"bad-request", "invalid", "too-large"}
    assert received[1]["detail"]
    await publish("demo.ok", data="still")
    assert await client.data("ok", 1) == ["still"]


async def test_an_error_names_the_subscription_if_that_can_be_read(client: WebSocketClient) -> None:
    await client.send(type="subscribe", id="mine", topics=["demo.a"], more=1)
    error = await client.message("mine", "error")
    assert error["detail"] == "more: Extra inputs are not permitted"


async def test_binary_messages_are_reported_and_nothing_is_lost(client: WebSocketClient) -> None:
    await client.subscribe("a", "demo.a")
    await client.send_bytes(b"\x00")
    assert (await client.message(None, "error"))["code"] == "bad-request"
    await publish("demo.a", data="still")
    assert await client.data("a", 1) == ["still"]


async def test_a_refused_change_leaves_the_subscription_as_it_was(client: WebSocketClient) -> None:
    await client.subscribe("a", "demo.a")
    await client.send(type="subscribe", id="a", topics=["secret"])
    assert (await client.message("a", "error"))["code"] == "forbidden"
    await publish("demo.a", data="still")
    assert await client.data("a", 1) == ["still"]


async def test_the_number_of_subscriptions_is_limited(client: WebSocketClient) -> None:
    for number in range(MAX_SUBSCRIPTIONS):
        await client.subscribe(str(number), "demo.a")
    await client.send(type="subscribe", id="more", topics=["demo.a"])
    assert (await client.message("more", "error"))["code"] == "too-large"
    await client.subscribe("0", "demo.b")  # replaces one


async def test_a_client_with_too_many_pending_commands_is_closed(client: WebSocketClient) -> None:
    for _ in range(MAX_PENDING_COMMANDS + 2):
        await client.send(type="unsubscribe", id="x")
    assert await client.close_code() == (4429, "too_many_commands")


async def test_a_connection_without_a_subscription_is_closed() -> None:
    async with WebSocketClient(partial(events, idle_seconds=0.05)) as client:
        assert await client.close_code() == (4410, "no_subscription")


# Ends


async def test_a_disconnect_ends_all_subscriptions() -> None:
    async with WebSocketClient(application) as client:
        await client.subscribe("a", "demo.a")
        await client.subscribe("b", "demo.b")
        hub = runtime.start().hub
        assert len(hub.subscribers) == 2
    assert hub.subscribers == []


async def test_a_drain_is_reported_once_and_closes_the_connection(client: WebSocketClient) -> None:
    await client.subscribe("a", "demo.a")
    await client.subscribe("b", "demo.b")
    await runtime.start().drain(over=0)
    assert (await client.message(None, "closing"))["reason"] == "draining"
    assert await client.output() == {"type": "websocket.close", "code": 1012, "reason": "draining"}


async def test_a_drain_is_reported_to_a_later_subscriber_too(client: WebSocketClient) -> None:
    await runtime.start().wait_ready(timeout=20)
    await runtime.start().drain(over=0)
    await client.send(type="subscribe", id="a", topics=["demo.a"])
    assert (await client.message(None, "closing"))["reason"] == "draining"
    assert await client.close_code() == (1012, "draining")


async def test_the_end_of_the_process_closes_the_connection(client: WebSocketClient) -> None:
    await client.subscribe("a", "demo.a")
    await runtime.stop()
    assert (await client.message(None, "closing"))["reason"] == "stopping"
    assert await client.close_code() == (1001, "stopping")


async def test_a_signed_link_allows_its_topics_until_it_expires() -> None:
    link = Link(int(time.time() + 2), ("orders.1",)).sign()
    async with WebSocketClient(application, query=f"link={link}") as client:
        subscribed = await client.subscribe("a")
        assert subscribed["topics"] == ["orders.1"]
        assert (await client.message("a", "closing"))["reason"] == "expired"
        await client.send(type="subscribe", id="a")
        assert (await client.message("a", "error"))["code"] == "unauthenticated"

"""Limits over WebSocket: each subscription counts as a stream; a refusal affects no other one."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from channels.routing import URLRouter
from pytest_django import Settings as DjangoSettings

from notifications import apublish
from notifications.access.identities.signed_links import events_url
from notifications.hub import runtime
from notifications.hub.subscribers import CloseReason
from notifications.routing import websocket_urlpatterns
from notifications.telemetry.counters import process_counters
from tests.harness.websocket_client import WebSocketClient, WithScope

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

application = URLRouter(websocket_urlpatterns)


async def refusal(client: WebSocketClient, id: str, *topics: str) -> str:
    await client.send(type="subscribe", id=id, topics=list(topics))
    reason: str = (await client.message(id, "closing"))["reason"]
    return reason


async def test_a_full_process_refuses_one_more_and_the_others_go_on(
    settings: DjangoSettings,
) -> None:
    settings.CARILLON = {**settings.CARILLON, "MAX_STREAMS": 2}
    async with WebSocketClient(application) as client, WebSocketClient(application) as other:
        await client.subscribe("a", "demo.a")
        await client.subscribe("b", "demo.b")
        before = process_counters.refused[CloseReason.TOO_MANY_STREAMS]
        assert await refusal(client, "c", "demo.c") == "too_many_streams"
        assert await refusal(other, "a", "demo.a") == "too_many_streams"
        assert process_counters.refused[CloseReason.TOO_MANY_STREAMS] == before + 2
        await client.subscribe("a", "demo.a", "demo.c")  # an existing one may change
        await apublish(["demo.c"], "still")
        assert await client.data("a", 1) == ["still"]
        await client.send(type="unsubscribe", id="b")
        await other.subscribe("a", "demo.a")
        assert await refusal(client, "b", "demo.b") == "too_many_streams"


async def test_the_quota_of_an_address_spans_its_connections(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "MAX_STREAMS_PER_ADDRESS": 2}
    near = WithScope(application, client=("192.0.2.1", 4711))
    far = WithScope(application, client=("192.0.2.2", 4711))
    async with WebSocketClient(near) as first, WebSocketClient(near) as second:
        await first.subscribe("a", "demo.a")
        await second.subscribe("a", "demo.a")
        assert await refusal(first, "b", "demo.b") == "too_many_of_address"
        async with WebSocketClient(far) as other:
            await other.subscribe("a", "demo.a")
    async with WebSocketClient(near) as again:
        await again.subscribe("a", "demo.a")
        await again.subscribe("b", "demo.b")
    assert not runtime.start().quotas._by_name


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("no_request_threads")
async def test_the_quota_of_a_user_spans_their_connections(
    settings: DjangoSettings, django_user_model: Any
) -> None:
    settings.CARILLON = {**settings.CARILLON, "MAX_STREAMS_PER_USER": 1}
    ada = await django_user_model.objects.acreate_user("ada")
    query = urlsplit(events_url("orders.1", "orders.2", user=ada)).query
    async with WebSocketClient(application, query=query) as first:
        await first.subscribe("a", "orders.1")
        assert await refusal(first, "b", "orders.2") == "too_many_of_user"
        async with WebSocketClient(application, query=query) as second:
            assert await refusal(second, "a", "orders.1") == "too_many_of_user"
        await first.subscribe("a", "orders.2")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("no_request_threads")
async def test_changing_topics_does_not_evade_the_quota_of_a_user(
    settings: DjangoSettings, django_user_model: Any
) -> None:
    """A subscription to public topics counts for no user until it is changed to a user's topic."""
    settings.CARILLON = {**settings.CARILLON, "MAX_STREAMS_PER_USER": 1}
    ada = await django_user_model.objects.acreate_user("ada")
    async with WebSocketClient(WithScope(application, user=ada)) as client:
        await client.subscribe("own", f"user.{ada.pk}")
        await client.subscribe("a", "demo.a")
        await client.send(type="subscribe", id="a", topics=["demo.a", f"user.{ada.pk}"])
        assert (await client.message("a", "error"))["code"] == "too-many-requests"
        await apublish(["demo.a"], "still")
        assert await client.data("a", 1) == ["still"]
        await client.send(type="unsubscribe", id="own")
        await client.subscribe("a", "demo.a", f"user.{ada.pk}")
        await client.subscribe("b", "demo.a")

"""The user of a WebSocket: looked up for each command, and again when a grant is too old."""

import asyncio
from typing import Any

import pytest
from channels.routing import URLRouter
from django.contrib.auth.models import AnonymousUser
from pytest_django import Settings as DjangoSettings

from notifications import apublish
from notifications.access import Access
from notifications.access.identities.base import User
from notifications.hub import runtime
from notifications.hub.subscribers import CloseReason
from notifications.routing import websocket_urlpatterns
from tests.harness.websocket_client import DEADLINE_SECONDS, WebSocketClient, WithScope

pytestmark = [
    pytest.mark.usefixtures("own_log", "runtime_ends", "no_request_threads"),
    pytest.mark.django_db(transaction=True),
]

application = URLRouter(websocket_urlpatterns)


@pytest.fixture
def ada(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ada")


async def test_a_user_that_another_middleware_found_subscribes(ada: Any) -> None:
    async with WebSocketClient(WithScope(application, user=ada)) as client:
        subscribed = await client.subscribe("own")
        assert subscribed["topics"] == [f"user.{ada.pk}"]
        await apublish([f"user.{ada.pk}"], "hello")
        assert await client.data("own", 1) == ["hello"]
        await client.send(type="subscribe", id="other", topics=[f"user.{ada.pk + 1}"])
        assert (await client.message("other", "error"))["code"] == "forbidden"


async def test_such_a_user_is_accepted_only_while_active(ada: Any) -> None:
    async with WebSocketClient(WithScope(application, user=ada)) as client:
        await client.subscribe("own")
        await type(ada).objects.filter(pk=ada.pk).aupdate(is_active=False)  # sends no signal
        await client.send(type="subscribe", id="again", topics=[f"user.{ada.pk}"])
        assert (await client.message("again", "error"))["code"] == "forbidden"


async def test_an_anonymous_user_subscribes_to_public_topics() -> None:
    async with WebSocketClient(WithScope(application, user=AnonymousUser())) as client:
        await client.subscribe("a", "demo.a")
        await client.send(type="subscribe", id="b", topics=["user.1"])
        assert (await client.message("b", "error"))["code"] == "forbidden"


async def test_a_grant_that_is_too_old_is_rechecked_and_ends_its_subscriptions(
    ada: Any, settings: DjangoSettings
) -> None:
    settings.CARILLON = {**settings.CARILLON, "GRANT_MAX_AGE": 0.3}
    async with WebSocketClient(WithScope(application, user=ada)) as client:
        await client.subscribe("public", "demo.a")
        await client.subscribe("own")
        await type(ada).objects.filter(pk=ada.pk).aupdate(is_active=False)  # sends no signal
        assert (await client.message("own", "closing"))["reason"] == "permission_ended"
        await apublish(["demo.a"], "still")
        assert await client.data("public", 1) == ["still"]
        assert len(runtime.start().hub.subscribers) == 1


class GatedAccess(Access):
    """Allows every topic; `slow` only once the gate is opened."""

    def __init__(self) -> None:
        self.waiting, self.opened = asyncio.Event(), asyncio.Event()

    async def can_subscribe(self, user: User, topic: str) -> bool:
        if topic == "slow":
            self.waiting.set()
            await asyncio.wait_for(self.opened.wait(), DEADLINE_SECONDS)
        return True


async def test_a_subscription_that_ends_while_its_topics_change_is_reported(
    ada: Any, settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = GatedAccess()
    monkeypatch.setattr(f"{__name__}.rules", gate, raising=False)
    settings.CARILLON = {**settings.CARILLON, "ACCESS": f"{__name__}.rules"}
    async with WebSocketClient(WithScope(application, user=ada)) as client:
        await client.subscribe("a", "fast")
        await client.send(type="subscribe", id="a", topics=["slow"])
        await asyncio.wait_for(gate.waiting.wait(), DEADLINE_SECONDS)
        [subscriber] = runtime.start().hub.subscribers
        runtime.start().hub.close(subscriber, CloseReason.KICKED)
        gate.opened.set()
        assert (await client.message("a", "closing"))["reason"] == "kicked"
        assert (await client.message("a", "error"))["code"] == "bad-request"
        await client.subscribe("a", "fast")

"""Who a WebSocket belongs to: asked at each command, and again when a grant has come of age."""

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
from tests.harness.websocket_client import DEADLINE, Client, Within

pytestmark = [
    pytest.mark.usefixtures("own_log", "runtime_ends", "no_request_threads"),
    pytest.mark.django_db(transaction=True),
]

application = URLRouter(websocket_urlpatterns)


@pytest.fixture
def ada(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ada")


async def test_the_user_of_another_middleware_is_who_subscribes(ada: Any) -> None:
    async with Client(Within(application, user=ada)) as client:
        said = await client.subscribe("own")
        assert said["topics"] == [f"user.{ada.pk}"]
        await apublish([f"user.{ada.pk}"], "hello")
        assert await client.data("own", 1) == ["hello"]
        await client.send(type="subscribe", id="other", topics=[f"user.{ada.pk + 1}"])
        assert (await client.about("other", "error"))["code"] == "forbidden"


async def test_that_user_is_taken_only_for_as_long_as_they_are_active(ada: Any) -> None:
    async with Client(Within(application, user=ada)) as client:
        await client.subscribe("own")
        await type(ada).objects.filter(pk=ada.pk).aupdate(is_active=False)  # no signal tells
        await client.send(type="subscribe", id="again", topics=[f"user.{ada.pk}"])
        assert (await client.about("again", "error"))["code"] == "forbidden"


async def test_an_anonymous_user_hears_what_is_public() -> None:
    async with Client(Within(application, user=AnonymousUser())) as client:
        await client.subscribe("a", "demo.a")
        await client.send(type="subscribe", id="b", topics=["user.1"])
        assert (await client.about("b", "error"))["code"] == "forbidden"


async def test_a_grant_that_is_of_age_is_asked_for_again_and_ends_what_it_allowed(
    ada: Any, settings: DjangoSettings
) -> None:
    settings.CARILLON = {**settings.CARILLON, "GRANT_MAX_AGE": 0.3}
    async with Client(Within(application, user=ada)) as client:
        await client.subscribe("public", "demo.a")
        await client.subscribe("own")
        await type(ada).objects.filter(pk=ada.pk).aupdate(is_active=False)  # no signal tells
        assert (await client.about("own", "closing"))["reason"] == "permission_ended"
        await apublish(["demo.a"], "still")
        assert await client.data("public", 1) == ["still"]
        assert len(runtime.start().hub.subscribers) == 1


class Gate(Access):
    """Allows everything, some of it when it has been opened."""

    def __init__(self) -> None:
        self.asked, self.opened = asyncio.Event(), asyncio.Event()

    async def can_subscribe(self, user: User, topic: str) -> bool:
        if topic == "slow":
            self.asked.set()
            await asyncio.wait_for(self.opened.wait(), DEADLINE)
        return True


async def test_what_ended_while_its_topics_were_being_changed_is_told(
    ada: Any, settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    monkeypatch.setattr(f"{__name__}.rules", gate, raising=False)
    settings.CARILLON = {**settings.CARILLON, "ACCESS": f"{__name__}.rules"}
    async with Client(Within(application, user=ada)) as client:
        await client.subscribe("a", "swift")
        await client.send(type="subscribe", id="a", topics=["slow"])
        await asyncio.wait_for(gate.asked.wait(), DEADLINE)
        [subscriber] = runtime.start().hub.subscribers
        runtime.start().hub.close(subscriber, CloseReason.KICKED)
        gate.opened.set()
        assert (await client.about("a", "closing"))["reason"] == "kicked"
        assert (await client.about("a", "error"))["code"] == "bad-request"
        await client.subscribe("a", "swift")

"""A WebSocket and its subscriptions are freed by their last reference, without the collector."""

import gc
from collections import Counter
from collections.abc import Iterator

import pytest
from channels.routing import URLRouter

from notifications.hub import runtime
from notifications.hub.subscribers import CloseReason
from notifications.routing import websocket_urlpatterns
from tests.harness.fakes import settle
from tests.harness.websocket_client import WebSocketClient

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

application = URLRouter(websocket_urlpatterns)
KINDS = ("notifications.websocket.", "notifications.hub.subscribers.", "notifications.transport.")


@pytest.fixture
def no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()


def living() -> Counter[str]:
    kinds = map(type, gc.get_objects())
    names = Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)
    return Counter({name: number for name, number in names.items() if name.startswith(KINDS)})


async def come_and_go() -> Counter[str]:
    """What lives while a client is connected."""
    async with WebSocketClient(application) as client:
        await client.subscribe("a", "demo.a")
        await client.subscribe("b", "demo.a", "demo.b")
        await client.subscribe("a", "demo.c")  # in place of the first
        alive = living()
    await settle()
    return alive


@pytest.mark.usefixtures("no_garbage_collector")
async def test_a_connection_that_ended_is_free_with_all_its_subscriptions() -> None:
    await come_and_go()  # the first starts the runtime
    before = living()
    for _ in range(3):
        assert await come_and_go() - before
    assert living() - before == Counter()


@pytest.mark.usefixtures("no_garbage_collector")
async def test_a_subscription_that_ended_is_free_although_its_connection_goes_on() -> None:
    async with WebSocketClient(application) as client:
        await client.subscribe("a", "demo.a")
        before = living()
        for number in range(3):
            await client.subscribe(f"unsubscribed {number}", "demo.a", "demo.b")
            await client.send(type="unsubscribe", id=f"unsubscribed {number}")
            await client.message(f"unsubscribed {number}", "unsubscribed")
            await client.subscribe(f"kicked {number}", "demo.a", "demo.c")
            running = runtime.current()
            assert running is not None
            for subscriber in running.hub.subscribed_to("demo.c"):
                running.hub.close(subscriber, CloseReason.KICKED)
            del subscriber
            await client.message(f"kicked {number}", "closing")
        await settle()
        assert living() - before == Counter()

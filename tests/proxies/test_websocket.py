"""WebSockets through the proxies with the configurations of docs/deploy.md."""

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.browser.conftest import Site
from tests.end_to_end.test_websocket import DEADLINE_SECONDS, Client
from tests.harness.proxies import Proxy, trusting_anybody


def opening(proxy: Proxy, *, origin: str) -> connect:
    """Open a WebSocket as a page of that origin does."""
    is_secure = proxy.scheme == "https"
    return connect(
        f"{'wss' if is_secure else 'ws'}://localhost:{proxy.port}/ws/events/",
        ssl=trusting_anybody() if is_secure else None,
        additional_headers={"Origin": origin},
        open_timeout=DEADLINE_SECONDS,
        proxy=None,
    )


async def test_a_page_of_the_site_gets_its_websocket(proxy: Proxy, site: Site) -> None:
    topic = site.new_topic()
    async with opening(proxy, origin=proxy.url) as connection:
        client = Client(connection)
        await client.subscribe("a", topic)
        for text in ("one", "two"):
            await site.publish({"topic": topic, "data": text})
            assert await client.data("a") == text


async def test_a_page_of_another_origin_is_refused(proxy: Proxy) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with asyncio.timeout(DEADLINE_SECONDS), opening(proxy, origin="https://evil.example"):
            pass
    assert refused.value.response.status_code == 403

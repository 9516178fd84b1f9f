"""WebSockets through the proxies, whose configurations are those of docs/deploy.md."""

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.browser.conftest import Site
from tests.end_to_end.test_websocket import DEADLINE, Client
from tests.proxies.servers import Proxy, trusting_anybody


def opening(proxy: Proxy, *, origin: str) -> connect:
    """As a page of that origin does."""
    return connect(
        f"wss://localhost:{proxy.port}/ws/events/",
        ssl=trusting_anybody(),
        additional_headers={"Origin": origin},
        open_timeout=DEADLINE,
        proxy=None,
    )


async def test_a_page_of_the_site_has_its_websocket(proxy: Proxy, site: Site) -> None:
    topic = site.new_topic()
    async with opening(proxy, origin=proxy.url) as connection:
        client = Client(connection)
        await client.subscribe("a", topic)
        for text in ("one", "two"):
            await site.publish({"topic": topic, "data": text})
            assert await client.data("a") == text


async def test_a_page_of_another_has_none(proxy: Proxy) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with asyncio.timeout(DEADLINE), opening(proxy, origin="https://evil.example"):
            pass
    assert refused.value.response.status_code == 403

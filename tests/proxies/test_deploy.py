"""The configurations of docs/deploy.md, unchanged, before an origin that may go away."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from playwright.async_api import Browser

from notifications.sse import Decoder, ServerSentEvent
from tests.browser.conftest import Inbox, Site
from tests.browser.test_native_eventsource import SUBSCRIBE, Received, data_of
from tests.harness.proxies import Proxy, caddy, trusting_anybody
from tests.harness.servers import ROOT, free_port
from tests.proxies.documented import DEPLOY, DOCUMENTED, KEEPS_ERRORS, block, replaced

ELSEWHERE = "https://elsewhere.example.com"
COME_BACK = 'retry: 3000\nevent: stream.closing\ndata: {"reason":"origin_away"}\n\n'
DEADLINE_SECONDS = 60.0
LARGE_COOKIE_BYTES = 4000
"""The largest cookie that a browser keeps."""


def client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url,
        http2=True,
        verify=trusting_anybody(),
        timeout=DEADLINE_SECONDS,
        trust_env=False,
    )


class HttpxStream:
    """A stream by httpx, since `tests.harness.event_source` has neither TLS nor HTTP/2."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._pieces = response.aiter_bytes()
        self._decoder = Decoder()
        self._ready: list[ServerSentEvent] = []

    async def next(self) -> ServerSentEvent:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not self._ready:
                self._ready += self._decoder.feed(await anext(self._pieces))
        return self._ready.pop(0)

    async def next_event(self) -> ServerSentEvent:
        while (event := await self.next()).type.startswith("stream."):
            pass
        return event


@asynccontextmanager
async def subscribed(url: str, topic: str, cursor: str = "") -> AsyncIterator[HttpxStream]:
    headers = {
        "Accept": "text/event-stream",
        "Accept-Encoding": "gzip",
        "Cookie": f"other={'x' * LARGE_COOKIE_BYTES}",
    }
    if cursor:
        headers["Last-Event-ID"] = cursor
    async with (
        client(url) as http,
        http.stream("GET", "/events/", params={"topic": topic}, headers=headers) as response,
    ):
        yield HttpxStream(response)


async def test_events_pass_as_they_come(proxy: Proxy, site: Site) -> None:
    topic = site.new_topic()
    async with subscribed(proxy.url, topic) as stream:
        assert stream.response.http_version == ("HTTP/2" if proxy.scheme == "https" else "HTTP/1.1")
        assert stream.response.headers["content-type"] == "text/event-stream"
        assert "content-encoding" not in stream.response.headers
        assert (await stream.next()).type == "stream.cursor"
        for text in ("one", "two"):
            await site.publish({"topic": topic, "data": text})
            assert (await stream.next_event()).data == text


async def test_without_the_origin_the_proxy_sends_a_stream_with_a_retry(
    coming_back: Proxy, site: Site
) -> None:
    proxy, topic = coming_back, site.new_topic()
    async with subscribed(proxy.url, topic) as stream:
        cursor = (await stream.next()).id
    with site.gone():
        async with client(proxy.url) as http:
            answer = await http.get("/events/?topic=demo.x", headers={"Origin": ELSEWHERE})
            assert (answer.status_code, answer.text) == (200, COME_BACK)
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["access-control-allow-origin"] == ELSEWHERE
            assert answer.headers["access-control-allow-credentials"] == "true"
        await site.publish({"topic": topic, "data": "meanwhile"})
    received = None
    async with asyncio.timeout(DEADLINE_SECONDS):
        while received is None:
            received = await _first_event(proxy.url, topic, cursor)
    assert received == "meanwhile"


async def _first_event(url: str, topic: str, cursor: str) -> str | None:
    """The data of the first event; None while the response is that of the proxy."""
    async with subscribed(url, topic, cursor) as stream:
        assert stream.response.status_code == 200
        try:
            return (await stream.next_event()).data
        except StopAsyncIteration:
            return None


async def test_a_refusal_by_the_origin_is_passed_on(proxy: Proxy, site: Site) -> None:
    async with client(proxy.url) as http:
        refused = await http.get("/events/?topic=secret")
        assert refused.status_code in (401, 403)
        assert refused.headers["content-type"] == "application/problem+json"
        allowed = await http.get("/events/", headers={"Origin": "https://app.example.com"})
        assert allowed.headers.get_list("access-control-allow-origin") == [
            "https://app.example.com"
        ]


class Overloaded(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status = 200 if self.path.startswith("/health/") else int(self.path.rpartition("=")[2])
        self.send_response(status)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"sorry")

    def log_message(self, *_: object) -> None: ...


@contextmanager
def overloaded() -> Iterator[int]:
    """The port of an origin that answers with the status at the end of the URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Overloaded) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if name != KEEPS_ERRORS])
async def test_a_temporary_status_of_the_origin_is_replaced_too(name: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        port = stack.enter_context(overloaded())
        proxy = stack.enter_context(DOCUMENTED[name](tmp_path, port))
        async with client(proxy.url) as http:
            for status in (502, 503, 504):
                answer = await http.get(f"/events/?topic={status}")
                assert (answer.status_code, answer.text) == (200, COME_BACK)
                assert "access-control-allow-origin" not in answer.headers
            for status in (200, 404, 500):
                answer = await http.get(f"/events/?topic={status}")
                assert (answer.status_code, answer.text) == (status, "sorry")
            assert (await http.get("/publish/?topic=503")).status_code == 503


@pytest.mark.browser
@pytest.mark.parametrize("name", ["nginx", "caddy"])
async def test_a_browser_comes_back_by_itself_and_misses_nothing(
    name: str, proxies: dict[str, Proxy], site: Site, browser: Browser
) -> None:
    """Its first attempts meet a proxy without an origin: a 502 would have been the end."""
    url, topic, received = proxies[name].url, site.new_topic(), Inbox[Received]()
    context = await browser.new_context(ignore_https_errors=True)
    tab = await context.new_page()
    refused: Inbox[int] = Inbox()
    await tab.goto(f"{url}/health/live")
    await tab.expose_function("received", lambda *arguments: received.put(Received(*arguments)))
    await tab.evaluate(SUBSCRIBE, [f"{url}/events/?topic={topic}", ["stream.cursor"]])
    await received.until(bool)
    await site.publish({"topic": topic, "data": "before"})
    await received.until(lambda items: bool(data_of(items)))
    protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
    assert await tab.evaluate(protocol) == "h2"
    tab.on("requestfinished", lambda request: refused.put(1))
    with site.gone():
        await site.publish({"topic": topic, "data": "meanwhile"})
        await refused.until(bool)
    await site.publish({"topic": topic, "data": "after"})
    await received.until(lambda items: len(data_of(items)) == 3)
    await context.close()
    assert [data for _, data in data_of(received.items)] == ["before", "meanwhile", "after"]


def test_the_documented_caddyfile_is_the_one_that_compose_uses() -> None:
    documented = block("caddyfile", holding="DOMAIN")
    assert documented == (ROOT / "config" / "Caddyfile").read_text()


def test_the_service_that_traefik_needs_sends_a_retry(tmp_path: Path) -> None:
    text = block("caddyfile", holding=":8099")
    port = free_port()
    with caddy(tmp_path, port, replaced(text, (":8099", f":{port}"))) as proxy:
        answer = httpx.get(f"{proxy.url}/", headers={"Origin": ELSEWHERE}, trust_env=False)
    assert (answer.status_code, answer.text) == (200, COME_BACK)
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["access-control-allow-origin"] == ELSEWHERE
    assert "**We have not run this one**" in DEPLOY

"""The doctor's verdicts on responses that no real proxy here gives; tests/proxies has those."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from notifications.management.doctor.connection import http_version
from notifications.management.doctor.questions import diagnose
from notifications.management.doctor.target import ProbeStream, Target
from notifications.management.doctor.verdicts import Grade, Verdict

STREAM = "Content-Type: text/event-stream\r\n"
AWAY = 'retry: 3000\nevent: stream.closing\ndata: {"reason":"origin_away"}\n\n'
OPENING = "id: 1.a-0\nevent: stream.cursor\ndata: {}\n\n"


@asynccontextmanager
async def answering(text: str) -> AsyncIterator[str]:
    """The URL of a server that answers each request with this text, and closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text.encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def diagnosed(url: str) -> dict[str, Verdict]:
    target = Target(url, topic="demo", key=None, timeout=10)
    return {verdict.name: verdict async for verdict in diagnose(target)}


@pytest.mark.parametrize(
    ("head", "body", "name", "text"),
    [
        ("1.1 302 Found\r\nLocation: /login/\r\n", "", "reach", "Redirected (302) to /login/"),
        ("1.1 200 OK\r\nContent-Type: text/html\r\n", "<p>", "reach", "text/html, and is not"),
        ("1.1 401 No\r\n", "", "reach", "the key is not known"),
        ("1.1 404 No\r\n", "", "reach", "nothing is there"),
        ("1.1 501 No\r\n", "", "reach", "WSGI"),
        ("1.1 504 No\r\n", "", "reach", "does not answer the proxy"),
        ("1.1 418 No\r\n", "", "reach", "Answered 418"),
        (f"1.0 200 OK\r\n{STREAM}", OPENING, "http", "HTTP/1.0"),
        (f"1.1 200 OK\r\n{STREAM}", AWAY, "first byte", "as it should"),
        (f"1.1 200 OK\r\n{STREAM}", "retry: 3000\n\n", "first byte", "some of them at once"),
        (f"1.1 200 OK\r\n{STREAM}", "", "first byte", "ended in good order"),
        (
            f"1.1 200 OK\r\n{STREAM}",
            'event: stream.closing\ndata: {"reason":"starting"}\n\n',
            "first byte",
            "starting",
        ),
        (f"1.1 200 OK\r\n{STREAM}Content-Encoding: br\r\n", OPENING, "compression", "(br)"),
    ],
)
async def test_a_wrong_response_has_its_verdict_and_a_cure(
    head: str, body: str, name: str, text: str
) -> None:
    async with answering(f"HTTP/{head}\r\n{body}") as url:
        verdict = (await diagnosed(url))[name]
    assert verdict.grade is Grade.FAULT
    assert text in verdict.text
    assert verdict.cure


@pytest.mark.parametrize(
    ("url", "version", "grade"),
    [
        ("https://example.com", "HTTP/2", Grade.OK),
        ("https://example.com", "HTTP/1.1", Grade.ADVICE),
        ("http://example.com", "HTTP/1.1", Grade.OK),
        ("http://example.com", "HTTP/1.0", Grade.FAULT),
    ],
)
def test_browsers_have_six_connections_unless_it_is_http2(
    url: str, version: str, grade: Grade
) -> None:
    target = Target(url, topic=None, key=None, timeout=1)
    response = httpx.Response(200, extensions={"http_version": version.encode()})
    assert http_version(target, ProbeStream(response, 1, 0)).grade is grade


@pytest.mark.parametrize(
    ("url", "events", "publish"),
    [
        ("https://a.b", "https://a.b/events/", "https://a.b/publish/"),
        ("https://a.b/", "https://a.b/events/", "https://a.b/publish/"),
        ("https://a.b/live/events/", "https://a.b/live/events/", "https://a.b/live/publish/"),
    ],
)
def test_the_urls_are_those_of_the_project_or_beside_the_url_that_is_passed(
    url: str, events: str, publish: str
) -> None:
    target = Target(url, topic=None, key=None, timeout=1)
    assert (target.events_url, target.publish_url) == (events, publish)


def test_the_topic_of_a_probe_is_used_by_no_one_else() -> None:
    topics = {Target("http://a", topic=topic, key=None, timeout=1).topic for topic in ("x", "x.")}
    assert len(topics) == 2
    assert all(topic.startswith("x.doctor-") for topic in topics)


def test_behind_a_proxy_that_needs_authorization_the_key_has_its_own_header() -> None:
    def credentials(url: str) -> dict[str, str]:
        return Target(url, topic="demo", key="a-key", timeout=1).credentials

    assert credentials("https://staging.example.com") == {"Authorization": "Bearer a-key"}
    assert credentials("https://ada:password@staging.example.com") == {"X-API-Key": "a-key"}

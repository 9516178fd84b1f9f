"""What the doctor says of answers that no real proxy here gives; tests/proxies has those."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from notifications.management.doctor.connection import version
from notifications.management.doctor.questions import examine
from notifications.management.doctor.target import Listener, Patient
from notifications.management.doctor.verdicts import Grade, Verdict

STREAM = "Content-Type: text/event-stream\r\n"
OPENING = "id: 1.a-0\nevent: stream.cursor\ndata: {}\n\n"


@asynccontextmanager
async def answering(text: str) -> AsyncIterator[str]:
    """The URL of a server that answers everything so, and closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text.encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def examined(url: str, key: str | None = None, patience: float = 10) -> dict[str, Verdict]:
    patient = Patient(url, topic="demo", key=key, patience=patience)
    return {verdict.name: verdict async for verdict in examine(patient)}


@pytest.mark.parametrize(
    ("head", "body", "name", "said"),
    [
        ("1.1 302 Found\r\nLocation: /login/\r\n", "", "reach", "Redirected (302) to /login/"),
        ("1.1 200 OK\r\nContent-Type: text/html\r\n", "<p>", "reach", "text/html, and is no"),
        ("1.1 401 No\r\n", "", "reach", "the key is not known"),
        ("1.1 404 No\r\n", "", "reach", "nothing is there"),
        ("1.1 501 No\r\n", "", "reach", "WSGI"),
        ("1.1 504 No\r\n", "", "reach", "does not answer the proxy"),
        ("1.1 418 No\r\n", "", "reach", "Answered 418"),
        (f"1.0 200 OK\r\n{STREAM}", OPENING, "http", "HTTP/1.0"),
        (f"1.1 200 OK\r\n{STREAM}", "retry: 3000\n\n", "first byte", "as it should"),
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
async def test_an_answer_that_is_wrong_has_its_verdict_and_a_cure(
    head: str, body: str, name: str, said: str
) -> None:
    async with answering(f"HTTP/{head}\r\n{body}") as url:
        verdict = (await examined(url))[name]
    assert verdict.grade is Grade.FAULT
    assert said in verdict.text
    assert verdict.cure


@pytest.mark.parametrize(
    ("url", "spoken", "grade"),
    [
        ("https://example.com", "HTTP/2", Grade.OK),
        ("https://example.com", "HTTP/1.1", Grade.ADVICE),
        ("http://example.com", "HTTP/1.1", Grade.OK),
        ("http://example.com", "HTTP/1.0", Grade.FAULT),
    ],
)
def test_browsers_have_six_connections_unless_it_is_http2(
    url: str, spoken: str, grade: Grade
) -> None:
    patient = Patient(url, topic=None, key=None, patience=1)
    response = httpx.Response(200, extensions={"http_version": spoken.encode()})
    assert version(patient, Listener(response, 1, 0)).grade is grade


@pytest.mark.parametrize(
    ("given", "events", "publish"),
    [
        ("https://a.b", "https://a.b/events/", "https://a.b/publish/"),
        ("https://a.b/", "https://a.b/events/", "https://a.b/publish/"),
        ("https://a.b/live/events/", "https://a.b/live/events/", "https://a.b/live/publish/"),
    ],
)
def test_the_urls_are_those_of_the_project_or_beside_the_one_that_is_given(
    given: str, events: str, publish: str
) -> None:
    patient = Patient(given, topic=None, key=None, patience=1)
    assert (patient.events_url, patient.publish_url) == (events, publish)


def test_nobody_else_hears_what_it_publishes() -> None:
    topics = {Patient("http://a", topic=each, key=None, patience=1).topic for each in ("x", "x.")}
    assert len(topics) == 2
    assert all(topic.startswith("x.doctor-") for topic in topics)

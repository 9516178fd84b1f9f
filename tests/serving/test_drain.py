"""`carillon serve` at SIGTERM: everyone is told, what is under way is finished, and it ends.

One shutdown of each server is watched from all sides, and each test asks for one of them.
"""

import asyncio
import json
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from notifications.sse import ServerSentEvent
from tests.harness.event_source import Stream, subscribe
from tests.harness.manage import DEADLINE, Served, served
from tests.harness.servers import PUBLISH_KEY, RedisServer, wait_until_ready

SECONDS = 2.0
STREAMS = 12
EVENT = 60_000
BATCH = 8
BATCHES = 20  # in all more than the kernel's buffers hold
AUTHORIZED = {"Authorization": f"Bearer {PUBLISH_KEY}"}


@dataclass
class Ended:
    """What was seen of a server's end."""

    status: int
    took: float
    said: str
    last_words: list[tuple[float, ServerSentEvent]]
    """When each stream had its last event, in seconds after the signal, and what that was."""
    ready: httpx.Response
    live: httpx.Response
    published: httpx.Response
    late: list[ServerSentEvent]
    """All of a stream that was opened meanwhile."""
    websocket: tuple[int, str, list[str]]
    """How a WebSocket closed, and what it was told at last."""


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def ended(request: pytest.FixtureRequest, project: dict[str, str]) -> Ended:
    given = {**project, "CARILLON_DRAIN_SECONDS": str(SECONDS)}
    with served("serve", "--server", request.param, environment=given) as serve:
        return asyncio.run(_watched(serve))


async def _watched(serve: Served) -> Ended:
    port = serve.port
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(_client(port))
        await _fill(client, "demo.big")
        streams = [await _open(stack, port) for _ in range(STREAMS)]
        websocket = await stack.enter_async_context(connect(f"ws://127.0.0.1:{port}/ws/events/"))
        await _hear(websocket, "demo.x", "demo.y")
        _stall(stack, port, "demo.big")
        half_a_request = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        half_a_request.sendall(b"GET /health/live HTTP/1.1\r\nHost: local")
        began = time.monotonic()
        serve.popen.send_signal(signal.SIGTERM)
        reading = [asyncio.create_task(_last_words(stream, began)) for stream in streams]
        await asyncio.to_thread(serve.says, "(drain.started)")
        async with subscribe(port, "demo.x") as late_stream, _client(port) as fresh:
            late = [event async for event in late_stream]
            ready = await fresh.get("/health/ready")
            live = await client.get("/health/live")  # on a connection from before
            published = await client.post("/publish/", data={"topic": "demo.x", "data": "late"})
        last_words = await asyncio.gather(*reading)
        closed = await _closed(websocket)
        status = await asyncio.to_thread(serve.wait)
        took = time.monotonic() - began
    return Ended(status, took, serve.said, last_words, ready, live, published, late, closed)


def _client(port: int) -> httpx.AsyncClient:
    url = f"http://127.0.0.1:{port}"
    return httpx.AsyncClient(base_url=url, headers=AUTHORIZED, timeout=DEADLINE)


async def _fill(client: httpx.AsyncClient, topic: str) -> None:
    batch = [{"topic": topic, "data": "x" * EVENT}] * BATCH
    for _ in range(BATCHES):
        assert (await client.post("/publish/", json=batch)).status_code == 201


async def _open(stack: AsyncExitStack, port: int) -> Stream:
    stream = await stack.enter_async_context(subscribe(port, "demo.x"))
    assert (await stream.next()).type == "stream.cursor"
    return stream


async def _hear(websocket: ClientConnection, *topics: str) -> None:
    for topic in topics:
        await websocket.send(json.dumps({"type": "subscribe", "id": topic, "topics": [topic]}))
        while json.loads(await websocket.recv())["id"] != topic:
            pass


async def _closed(websocket: ClientConnection) -> tuple[int, str, list[str]]:
    async with asyncio.timeout(DEADLINE):
        frames = [json.loads(text) async for text in _texts(websocket)]
    assert frames[-1]["id"] is None
    assert websocket.close_code is not None
    assert websocket.close_reason is not None
    said = [message["reason"] for message in frames[-1]["messages"]]
    return websocket.close_code, websocket.close_reason, said


async def _texts(websocket: ClientConnection) -> AsyncIterator[str | bytes]:
    with suppress(ConnectionClosed):
        while True:
            yield await websocket.recv()


def _stall(stack: AsyncExitStack, port: int, topic: str) -> None:
    """Ask for more than fits into any buffer, and read nothing of it."""
    client = stack.enter_context(socket.socket())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(DEADLINE)
    client.connect(("127.0.0.1", port))
    client.sendall(
        f"GET /events/?topic={topic}&since=all HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    )
    while b"data: x" not in client.recv(1024):
        pass


async def _last_words(stream: Stream, began: float) -> tuple[float, ServerSentEvent]:
    last = [event async for event in stream if event.type != "stream.cursor"][-1]
    return time.monotonic() - began, last


def test_it_ends_well(ended: Ended) -> None:
    assert ended.status == 0
    assert "Traceback" not in ended.said
    assert "rror" not in ended.said


def test_every_stream_is_told_before_it_ends(ended: Ended) -> None:
    assert len(ended.last_words) == STREAMS
    for _, last in ended.last_words:
        assert (last.type, last.data) == ("stream.closing", '{"reason":"draining"}')


def test_the_ends_are_spread_over_the_time(ended: Ended) -> None:
    times = sorted(at for at, _ in ended.last_words)
    assert times[-1] - times[0] > SECONDS / 2
    retries = {last.retry for _, last in ended.last_words}
    assert len(retries) > 1


def test_it_is_not_ready_and_lives_and_publishes(ended: Ended) -> None:
    assert ended.ready.status_code == 503
    assert ended.live.status_code == 200
    assert ended.published.status_code == 201


def test_answers_say_that_the_connection_closes(ended: Ended) -> None:
    assert ended.ready.headers["connection"] == "close"
    assert ended.live.headers["connection"] == "close"
    assert ended.published.headers["connection"] == "close"


def test_who_connects_meanwhile_is_told_too(ended: Ended) -> None:
    [closing] = ended.late
    assert (closing.type, closing.data) == ("stream.closing", '{"reason":"draining"}')


def test_a_websocket_is_told_once_and_closed(ended: Ended) -> None:
    assert ended.websocket == (1012, "draining", ["draining"])


def test_who_reads_nothing_or_asks_half_a_question_does_not_hold_it(ended: Ended) -> None:
    assert f"drain.finished streams={STREAMS + 3} cut=1" in ended.said
    # The drain, a moment for the stalled one, and processes that end on a busy machine.
    assert ended.took < SECONDS + 7


@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
def test_a_publish_in_flight_is_answered(
    server: str, redis: RedisServer, project: dict[str, str]
) -> None:
    body = b"topic=demo.x&data=late"
    head = (
        f"POST /publish/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {PUBLISH_KEY}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with served("serve", "--server", server, environment=project) as serve:
        port = serve.port
        wait_until_ready(port)
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as publisher:
            redis.pause()
            try:
                publisher.sendall(head.encode() + body)
                assert httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=DEADLINE)
                serve.popen.send_signal(signal.SIGTERM)
                serve.says("(drain.finished)")
            finally:
                redis.resume()
            answer = publisher.recv(65536)
        # 503 only where the machine was too busy for Redis to answer in time: cut is neither.
        assert answer.startswith((b"HTTP/1.1 201", b"HTTP/1.1 503")), answer
        assert b"onnection: close" in answer
        assert serve.wait() == 0
        assert "Traceback" not in serve.said

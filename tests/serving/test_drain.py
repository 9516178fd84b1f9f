"""`carillon serve` at SIGTERM: streams get a closing block, requests in progress are answered.

One shutdown of each server is observed by many clients, and each test looks at one of them.
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
from tests.harness.manage import DEADLINE_SECONDS, CarillonProcess, carillon_process
from tests.harness.promises import allowed_seconds
from tests.harness.servers import PUBLISH_KEY, RedisServer, wait_until_ready

DRAIN_SECONDS = 2.0
STREAMS = 12
EVENT_BYTES = 60_000
EVENTS_PER_BATCH = 8
BATCHES = 20  # together more than the kernel's buffers hold
AUTHORIZED = {"Authorization": f"Bearer {PUBLISH_KEY}"}


@dataclass
class Shutdown:
    """What the clients observed of a server's shutdown."""

    status: int
    seconds: float
    allowed_seconds: float
    output: str
    last_events: list[tuple[float, ServerSentEvent]]
    """The last event of each stream, and its time in seconds after the signal."""
    ready: httpx.Response
    live: httpx.Response
    published: httpx.Response
    late_events: list[ServerSentEvent]
    """All events of a stream that was opened during the drain."""
    websocket: tuple[int, str, list[str]]
    """The close code and reason of a WebSocket, and the reasons in its last frame."""


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def shutdown(request: pytest.FixtureRequest, project: dict[str, str]) -> Shutdown:
    environment = {**project, "CARILLON_DRAIN_SECONDS": str(DRAIN_SECONDS)}
    with carillon_process("serve", "--server", request.param, environment=environment) as serve:
        return asyncio.run(_observe(serve))


async def _observe(serve: CarillonProcess) -> Shutdown:
    port = serve.port
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(_client(port))
        await _fill(client, "demo.big")
        streams = [await _open(stack, port) for _ in range(STREAMS)]
        websocket = await stack.enter_async_context(connect(f"ws://127.0.0.1:{port}/ws/events/"))
        await _subscribe(websocket, "demo.x", "demo.y")
        _stall(stack, port, "demo.big")
        half_a_request = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        half_a_request.sendall(b"GET /health/live HTTP/1.1\r\nHost: local")
        signalled_at = time.monotonic()
        serve.popen.send_signal(signal.SIGTERM)
        reading = [asyncio.create_task(_last_event(stream, signalled_at)) for stream in streams]
        await asyncio.to_thread(serve.wait_for, "(drain.started)")
        async with subscribe(port, "demo.x") as late_stream, _client(port) as new_client:
            late_events = [event async for event in late_stream]
            ready = await new_client.get("/health/ready")
            live = await client.get("/health/live")  # on a connection from before the signal
            published = await client.post("/publish/", data={"topic": "demo.x", "data": "late"})
        last_events = await asyncio.gather(*reading)
        closed = await _closed(websocket)
        status = await asyncio.to_thread(serve.wait)
        seconds = time.monotonic() - signalled_at
    return Shutdown(
        status,
        seconds,
        DRAIN_SECONDS + allowed_seconds(7),
        serve.output,
        last_events,
        ready,
        live,
        published,
        late_events,
        closed,
    )


def _client(port: int) -> httpx.AsyncClient:
    url = f"http://127.0.0.1:{port}"
    # Certificates, which need not be read without TLS, would keep this loop from its other clients.
    return httpx.AsyncClient(
        base_url=url, headers=AUTHORIZED, timeout=DEADLINE_SECONDS, verify=False
    )


async def _fill(client: httpx.AsyncClient, topic: str) -> None:
    batch = [{"topic": topic, "data": "x" * EVENT_BYTES}] * EVENTS_PER_BATCH
    for _ in range(BATCHES):
        assert (await client.post("/publish/", json=batch)).status_code == 201


async def _open(stack: AsyncExitStack, port: int) -> Stream:
    stream = await stack.enter_async_context(subscribe(port, "demo.x"))
    assert (await stream.next()).type == "stream.cursor"
    return stream


async def _subscribe(websocket: ClientConnection, *topics: str) -> None:
    for topic in topics:
        await websocket.send(json.dumps({"type": "subscribe", "id": topic, "topics": [topic]}))
        while json.loads(await websocket.recv())["id"] != topic:
            pass


async def _closed(websocket: ClientConnection) -> tuple[int, str, list[str]]:
    async with asyncio.timeout(DEADLINE_SECONDS):
        frames = [json.loads(text) async for text in _texts(websocket)]
    assert frames[-1]["id"] is None
    assert websocket.close_code is not None
    assert websocket.close_reason is not None
    reasons = [message["reason"] for message in frames[-1]["messages"]]
    return websocket.close_code, websocket.close_reason, reasons


async def _texts(websocket: ClientConnection) -> AsyncIterator[str | bytes]:
    with suppress(ConnectionClosed):
        while True:
            yield await websocket.recv()


def _stall(stack: AsyncExitStack, port: int, topic: str) -> None:
    """Open a stream with more data than all buffers hold, and do not read it."""
    client = stack.enter_context(socket.socket())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(DEADLINE_SECONDS)
    client.connect(("127.0.0.1", port))
    client.sendall(
        f"GET /events/?topic={topic}&since=all HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    )
    while b"data: x" not in client.recv(1024):
        pass


async def _last_event(stream: Stream, signalled_at: float) -> tuple[float, ServerSentEvent]:
    last = [event async for event in stream if event.type != "stream.cursor"][-1]
    return time.monotonic() - signalled_at, last


def test_it_exits_without_errors(shutdown: Shutdown) -> None:
    assert shutdown.status == 0
    assert "Traceback" not in shutdown.output
    assert "rror" not in shutdown.output


def test_every_stream_gets_a_closing_event(shutdown: Shutdown) -> None:
    assert len(shutdown.last_events) == STREAMS
    for _, last in shutdown.last_events:
        assert (last.type, last.data) == ("stream.closing", '{"reason":"draining"}')


def test_streams_end_spread_over_the_drain(shutdown: Shutdown) -> None:
    times = sorted(seconds for seconds, _ in shutdown.last_events)
    assert times[-1] - times[0] > DRAIN_SECONDS / 2
    retries = {last.retry for _, last in shutdown.last_events}
    assert len(retries) > 1


def test_a_draining_server_is_live_but_not_ready_and_publishes(shutdown: Shutdown) -> None:
    assert shutdown.ready.status_code == 503
    assert shutdown.live.status_code == 200
    assert shutdown.published.status_code == 201


def test_responses_announce_that_the_connection_closes(shutdown: Shutdown) -> None:
    assert shutdown.ready.headers["connection"] == "close"
    assert shutdown.live.headers["connection"] == "close"
    assert shutdown.published.headers["connection"] == "close"


def test_a_stream_opened_during_the_drain_gets_a_closing_event(shutdown: Shutdown) -> None:
    [closing] = shutdown.late_events
    assert (closing.type, closing.data) == ("stream.closing", '{"reason":"draining"}')


def test_a_websocket_gets_one_closing_message_and_is_closed(shutdown: Shutdown) -> None:
    assert shutdown.websocket == (1012, "draining", ["draining"])


def test_a_stalled_stream_and_half_a_request_do_not_delay_the_shutdown(shutdown: Shutdown) -> None:
    assert f"drain.finished streams={STREAMS + 3} cut=1" in shutdown.output
    # The drain, a moment for the stalled stream, and the exit.
    assert shutdown.seconds < shutdown.allowed_seconds


@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
def test_a_publish_in_flight_is_answered(
    server: str, redis: RedisServer, project: dict[str, str]
) -> None:
    body = b"topic=demo.x&data=late"
    head = (
        f"POST /publish/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {PUBLISH_KEY}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with carillon_process("serve", "--server", server, environment=project) as serve:
        port = serve.port
        wait_until_ready(port)
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS) as publisher:
            redis.pause()
            try:
                publisher.sendall(head.encode() + body)
                assert httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=DEADLINE_SECONDS)
                serve.popen.send_signal(signal.SIGTERM)
                serve.wait_for("(drain.finished)")
            finally:
                redis.resume()
            response = publisher.recv(65536)
        # 503 only if the machine was too busy for Redis to answer in time. A cut connection would
        # give neither.
        assert response.startswith((b"HTTP/1.1 201", b"HTTP/1.1 503")), response
        assert b"onnection: close" in response
        assert serve.wait() == 0
        assert "Traceback" not in serve.output

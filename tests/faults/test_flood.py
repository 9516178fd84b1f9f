"""A flood of connections that are slow, half-open or malformed stops nobody else, and ends."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress

import httpx
import pytest

from tests.harness.event_source import DEADLINE, subscribe
from tests.harness.manage import Served, served
from tests.harness.servers import PUBLISH_KEY, RedisServer, environment, wait_until_ready

EACH = 100
PROMPT = 5.0
"""On a machine that does much else."""
TIMEOUT = 1.5

HEAD = b"GET /events/?topic=demo.x HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 4096
MALFORMED = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    b"GET\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: nonsense\r\n\r\n",
    b"GET / HTTP/9.9\r\n: \r\n\r\n",
    b"\r\n" * 500,
)

pytestmark = pytest.mark.usefixtures("swift_loop")


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def serve(
    request: pytest.FixtureRequest,
    session_redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    settings = {
        "PORT": "0",
        "CARILLON_DRAIN_SECONDS": "0",
        "CARILLON_KEEPALIVE": "1",
        "CARILLON_REQUEST_TIMEOUT": str(TIMEOUT),
        "CARILLON_MAX_REQUEST_BYTES": "100000",
    }
    given = environment(session_redis.url, tmp_path_factory.mktemp("project"), settings)
    with served("serve", "--server", request.param, environment=given) as serve:
        wait_until_ready(serve.port)
        yield serve
        assert serve.end() == 0
        assert "Traceback" not in serve.said


@asynccontextmanager
async def connections(port: int, count: int) -> AsyncIterator[list[socket.socket]]:
    """Open ones, which are closed at the end."""
    loop = asyncio.get_running_loop()
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            each = socket.socket()
            opened.append(each)
            each.setblocking(False)
            await loop.sock_connect(each, ("127.0.0.1", port))
        yield opened
    finally:
        for each in opened:
            each.close()


async def drip(slow: list[socket.socket], text: bytes) -> None:
    """A byte each, now and again, for as long as somebody listens."""
    for at in range(len(text)):
        for each in slow:
            try:
                each.send(text[at : at + 1])
            except OSError:
                continue
        await asyncio.sleep(0.2)


async def closed(each: socket.socket) -> None:
    """Waits for the other end to close it."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(DEADLINE):
        try:
            while await loop.sock_recv(each, 65536):
                pass
        except ConnectionError:
            pass


async def swallowed(client: socket.socket, more: bytes) -> int:
    """How many bytes are taken, beside what networks hold, until the connection is closed."""
    loop = asyncio.get_running_loop()
    sent = 0
    async with asyncio.timeout(DEADLINE):
        with suppress(ConnectionError):
            while True:
                await loop.sock_sendall(client, more)
                sent += len(more)
    return sent


async def publish(port: int, data: str) -> None:
    headers = {"Authorization": f"Bearer {PUBLISH_KEY}"}
    async with httpx.AsyncClient(timeout=DEADLINE) as client:
        url = f"http://127.0.0.1:{port}/publish/"
        answer = await client.post(url, json={"topic": "demo.x", "data": data}, headers=headers)
    assert answer.status_code == 201


async def test_others_are_served_promptly_and_the_flood_ends(serve: Served) -> None:
    loop = asyncio.get_running_loop()
    async with (
        connections(serve.port, EACH) as half_open,
        connections(serve.port, EACH) as slow,
        connections(serve.port, EACH) as malformed,
    ):
        for number, each in enumerate(malformed):
            each.send(MALFORMED[number % len(MALFORMED)])
        for each in slow:
            each.send(HEAD[:10])
        dripping = asyncio.create_task(drip(slow, HEAD[10:]))
        for number in range(3):
            began = loop.time()
            async with subscribe(serve.port, "demo.x") as stream:
                assert (await stream.next()).type == "stream.cursor"
                await publish(serve.port, f"event {number}")
                assert (await stream.next_event()).data == f"event {number}"
            assert loop.time() - began < PROMPT
        await asyncio.gather(*map(closed, [*half_open, *slow, *malformed]))
        dripping.cancel()
    (worker,) = serve.workers()
    async with asyncio.timeout(DEADLINE):
        while len(worker.net_connections()) > 10:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)


async def test_who_is_served_is_not_taken_for_slow(serve: Served) -> None:
    """A stream, and a connection that is kept for the next request, outlast every time-out."""
    limits = httpx.Limits(keepalive_expiry=60)
    async with (
        subscribe(serve.port, "demo.quiet") as stream,
        httpx.AsyncClient(timeout=DEADLINE, limits=limits) as client,
    ):
        assert (await stream.next()).type == "stream.cursor"
        url = f"http://127.0.0.1:{serve.port}/health/live"
        assert (await client.get(url)).status_code == 200
        for _ in range(6):  # a second each, give or take a quarter
            assert (await stream.next()).type == "stream.cursor"
        (kept,) = client._transport._pool.connections  # type: ignore[attr-defined]
        assert (await client.get(url)).status_code == 200
        assert client._transport._pool.connections == [kept]  # type: ignore[attr-defined]
        async with httpx.AsyncClient(timeout=DEADLINE) as other:
            headers = {"Authorization": f"Bearer {PUBLISH_KEY}"}
            event = {"topic": "demo.quiet", "data": "still here"}
            published = f"http://127.0.0.1:{serve.port}/publish/"
            assert (await other.post(published, json=event, headers=headers)).status_code == 201
        assert (await stream.next_event()).data == "still here"


async def test_a_body_that_stands_still_is_not_waited_for(serve: Served) -> None:
    async with connections(serve.port, 2) as (silent, dripping):
        head = b"POST /publish/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\n"
        for each in (silent, dripping):
            each.send(head + b"{")
        task = asyncio.create_task(drip([dripping], b" " * 500))
        await asyncio.gather(closed(silent), closed(dripping))
        task.cancel()


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 10000000\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n4e20\r\n",
    ],
    ids=["length", "chunked"],
)
async def test_a_body_without_end_is_not_taken(serve: Served, head: bytes) -> None:
    loop = asyncio.get_running_loop()
    async with connections(serve.port, 1) as (client,):
        await loop.sock_sendall(client, b"POST /admin/ HTTP/1.1\r\nHost: localhost\r\n" + head)
        assert await swallowed(client, b"x" * 20_000 + b"\r\n4e20\r\n") < 10_000_000


async def test_a_head_without_end_is_not_taken(serve: Served) -> None:
    loop = asyncio.get_running_loop()
    async with connections(serve.port, 1) as (client,):
        await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        assert await swallowed(client, b"X-More: " + b"x" * 1000 + b"\r\n") < 10_000_000


KIB, MIB = 1024, 1024 * 1024
STALLED = 60
EVENT = 60_000


def stalled(port: int) -> socket.socket:
    """A stream of which nothing is read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(DEADLINE)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET /events/?topic=demo.large HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return client


async def test_stalled_streams_take_no_more_than_the_formula_says(serve: Served) -> None:
    """docs/run.md: 24 KiB, and a chunk twice."""
    (worker,) = serve.workers()
    headers = {"Authorization": f"Bearer {PUBLISH_KEY}"}
    url = f"http://127.0.0.1:{serve.port}/publish/"
    event = {"topic": "demo.large", "data": "x" * EVENT}
    with ExitStack() as stack:
        async with httpx.AsyncClient(headers=headers, timeout=DEADLINE) as client:
            for _ in range(10):
                assert (await client.post(url, json=event)).status_code == 201
            before = worker.memory_info().rss
            for _ in range(STALLED):
                stack.enter_context(await asyncio.to_thread(stalled, serve.port))
            for _ in range(30):
                assert (await client.post(url, json=event)).status_code == 201
        grown = worker.memory_info().rss - before - 30 * EVENT
        assert grown < STALLED * (24 * KIB + 2 * 64 * KIB) + 8 * MIB

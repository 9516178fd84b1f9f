"""A flood of silent, half-open or malformed connections ends, and delays no other client."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress

import httpx
import pytest

from tests.faults.stalled import MIB, connect_without_reading, stream_request
from tests.harness.event_source import DEADLINE_SECONDS, subscribe
from tests.harness.manage import CarillonProcess, carillon_process
from tests.harness.servers import PUBLISH_KEY, RedisServer, environment, wait_until_ready

CONNECTIONS_OF_A_KIND = 100
PROMPT_SECONDS = 20.0
"""On a busy machine."""
REQUEST_TIMEOUT_SECONDS = 1.5

HEAD = b"GET /events/?topic=demo.x HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 4096
MALFORMED = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    b"GET\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: nonsense\r\n\r\n",
    b"GET / HTTP/9.9\r\n: \r\n\r\n",
    b"\r\n" * 500,
)

pytestmark = pytest.mark.usefixtures("loop_without_debug")


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def serve(
    request: pytest.FixtureRequest,
    session_redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[CarillonProcess]:
    settings = {
        "PORT": "0",
        "CARILLON_DRAIN_SECONDS": "0",
        "CARILLON_KEEPALIVE": "1",
        "CARILLON_REQUEST_TIMEOUT": str(REQUEST_TIMEOUT_SECONDS),
        "CARILLON_MAX_REQUEST_BYTES": "100000",
    }
    given = environment(session_redis.url, tmp_path_factory.mktemp("project"), settings)
    with carillon_process("serve", "--server", request.param, environment=given) as serve:
        wait_until_ready(serve.port)
        yield serve
        assert serve.end() == 0
        assert "Traceback" not in serve.output


@asynccontextmanager
async def connections(port: int, count: int) -> AsyncIterator[list[socket.socket]]:
    """Open connections, which are closed when the block ends."""
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


async def closed(each: socket.socket) -> None:
    """Wait until the server closes it."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(DEADLINE_SECONDS):
        try:
            while await loop.sock_recv(each, 65536):
                pass
        except ConnectionError:
            pass


async def bytes_taken(client: socket.socket, more: bytes) -> int:
    """How many bytes can be sent, kernel buffers included, until the server closes."""
    loop = asyncio.get_running_loop()
    sent = 0
    async with asyncio.timeout(DEADLINE_SECONDS):
        with suppress(ConnectionError):
            while True:
                await loop.sock_sendall(client, more)
                sent += len(more)
    return sent


async def publish(port: int, data: str) -> None:
    headers = {"Authorization": f"Bearer {PUBLISH_KEY}"}
    async with httpx.AsyncClient(timeout=DEADLINE_SECONDS) as client:
        url = f"http://127.0.0.1:{port}/publish/"
        answer = await client.post(url, json={"topic": "demo.x", "data": data}, headers=headers)
    assert answer.status_code == 201


async def test_others_are_served_promptly_and_the_flood_ends(serve: CarillonProcess) -> None:
    loop = asyncio.get_running_loop()
    async with (
        connections(serve.port, CONNECTIONS_OF_A_KIND) as half_open,
        connections(serve.port, CONNECTIONS_OF_A_KIND) as slow,
        connections(serve.port, CONNECTIONS_OF_A_KIND) as malformed,
    ):
        for number, each in enumerate(malformed):
            each.send(MALFORMED[number % len(MALFORMED)])
        for each in slow:
            each.send(HEAD)
        for number in range(3):
            began = loop.time()
            async with subscribe(serve.port, "demo.x") as stream:
                assert (await stream.next()).type == "stream.cursor"
                await publish(serve.port, f"event {number}")
                assert (await stream.next_event()).data == f"event {number}"
            assert loop.time() - began < PROMPT_SECONDS
        await asyncio.gather(*map(closed, [*half_open, *slow, *malformed]))
    (worker,) = serve.workers()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(worker.net_connections()) > 10:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.05)


async def test_served_clients_are_not_taken_for_silent(serve: CarillonProcess) -> None:
    """A stream outlasts the time-out; a connection that is kept alive for nothing does not."""
    async with (
        subscribe(serve.port, "demo.quiet") as stream,
        connections(serve.port, 1) as (idle,),
    ):
        assert (await stream.next()).type == "stream.cursor"
        idle.send(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await closed(idle)
        for _ in range(4):  # a second each, give or take a quarter
            assert (await stream.next()).type == "stream.cursor"
        async with httpx.AsyncClient(timeout=DEADLINE_SECONDS) as other:
            headers = {"Authorization": f"Bearer {PUBLISH_KEY}"}
            event = {"topic": "demo.quiet", "data": "still here"}
            published = f"http://127.0.0.1:{serve.port}/publish/"
            assert (await other.post(published, json=event, headers=headers)).status_code == 201
        assert (await stream.next_event()).data == "still here"


@pytest.mark.parametrize("serve", ["daphne"], indirect=True)  # uvicorn leaves it to a proxy
async def test_a_body_that_stops_is_cut_off(serve: CarillonProcess) -> None:
    async with connections(serve.port, 1) as (silent,):
        head = b"POST /publish/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\n"
        silent.send(head + b"{")
        await closed(silent)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 10000000\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n4e20\r\n",
    ],
    ids=["length", "chunked"],
)
async def test_an_endless_body_is_cut_off(serve: CarillonProcess, head: bytes) -> None:
    loop = asyncio.get_running_loop()
    async with connections(serve.port, 1) as (client,):
        await loop.sock_sendall(client, b"POST /admin/ HTTP/1.1\r\nHost: localhost\r\n" + head)
        assert await bytes_taken(client, b"x" * 20_000 + b"\r\n4e20\r\n") < 10_000_000


async def test_a_body_that_is_too_large_is_answered_with_a_problem(serve: CarillonProcess) -> None:
    loop = asyncio.get_running_loop()
    for path in b"/publish/", b"/admin/":
        head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100001\r\n\r\n" % path
        async with connections(serve.port, 1) as (client,):
            await loop.sock_sendall(client, head + b" " * 100_001)
            answer = b""
            async with asyncio.timeout(DEADLINE_SECONDS):
                while b"too-large" not in answer:
                    received = await loop.sock_recv(client, 65536)
                    assert received, answer
                    answer += received
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"application/problem+json" in answer


async def test_an_endless_head_is_cut_off(serve: CarillonProcess) -> None:
    loop = asyncio.get_running_loop()
    async with connections(serve.port, 1) as (client,):
        await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        assert await bytes_taken(client, b"X-More: " + b"x" * 1000 + b"\r\n") < 10_000_000


KIB = 1024
STALLED = 60
EVENT_BYTES = 60_000


async def test_stalled_streams_take_no_more_memory_than_documented(serve: CarillonProcess) -> None:
    """docs/run.md: 24 KiB, and twice a chunk."""
    (worker,) = serve.workers()
    headers = {"Authorization": f"Bearer {PUBLISH_KEY}"}
    url = f"http://127.0.0.1:{serve.port}/publish/"
    event = {"topic": "demo.large", "data": "x" * EVENT_BYTES}
    with ExitStack() as stack:
        async with httpx.AsyncClient(headers=headers, timeout=DEADLINE_SECONDS) as client:
            for _ in range(10):
                assert (await client.post(url, json=event)).status_code == 201
            before = worker.memory_info().rss
            request = stream_request("demo.large")
            for _ in range(STALLED):
                stalled = await asyncio.to_thread(connect_without_reading, serve.port, request)
                stack.enter_context(stalled)
            for _ in range(30):
                assert (await client.post(url, json=event)).status_code == 201
        grown = worker.memory_info().rss - before - 30 * EVENT_BYTES
        assert grown < STALLED * (24 * KIB + 2 * 64 * KIB) + 8 * MIB

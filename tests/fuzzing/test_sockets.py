"""Whatever bytes arrive, a real server answers the next request and logs no traceback."""

import asyncio
import random
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from tests.harness.event_source import DEADLINE_SECONDS, subscribe
from tests.harness.manage import CarillonProcess, carillon_process
from tests.harness.servers import PUBLISH_KEY, RedisServer, environment, wait_until_ready

CONNECTIONS = 150
MAX_CONCURRENT = 30
READ_SECONDS = 2.0
"""Longer than the server waits for the remainder of a request."""
INCOMPLETE_RESPONSE = "ASGI callable returned without completing response"
"""uvicorn logs this at its end for a stream whose client pipelined a request and left."""
NO_LINGER = struct.pack("ii", 1, 0)

EVENT = b'{"topic":"demo.a","data":"x"}'
KEY = b"Authorization: Bearer " + PUBLISH_KEY.encode() + b"\r\n"
POST = b"POST /publish/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + KEY
LENGTH = b"Content-Length: %d\r\n\r\n"
GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
STREAM = b"GET /events/?topic=demo.a HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADE = (
    b"GET /ws/events/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
VALID = [GET, STREAM, POST + LENGTH % len(EVENT) + EVENT, GET * 3, STREAM + GET, UPGRADE]
INVALID = [
    *(
        b"",
        b"\0" * 64,
        b"\r\n",
        b"GET",
        b" / HTTP/1.1\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/3\r\n\r\n",
    ),
    *(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"),
    *(
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    b"GET http://localhost/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n",
    *(b"GET /\xff?topic=\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /%00%ff HTTP/1.0\r\n\r\n"),
    *(b"GET /events/?topic=\xe9 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"G\xe9T / HTTP/1.1\r\n\r\n"),
    b"GET /ws/events/?\xff HTTP/1.1" + UPGRADE.partition(b"HTTP/1.1")[2],
    *(
        GET[:-4] + b"\r\nX: a\0b\r\n\r\n",
        GET[:-4] + b"\r\nno colon\r\n\r\n",
        GET[:-4] + b"\r\n: x\r\n\r\n",
    ),
    *(
        GET[:-4] + b"\r\n folded\r\n\r\n",
        GET.replace(b"localhost", b"\xff"),
        GET.replace(b"\r\n", b"\n"),
    ),
    *(GET[:-4] + b"\r\nHost: other\r\n\r\n", GET[:-4] + b"\r\nExpect: 100-continue\r\n\r\n"),
    *(POST + LENGTH % 5 + EVENT, POST + LENGTH % 500 + EVENT, POST + LENGTH % 0 + EVENT),
    *(
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 9" + b"9" * 5_000 + b"\r\n\r\n",
    ),
    POST + b"Content-Length: 29\r\nContent-Length: 2\r\n\r\n" + EVENT,
    POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
    POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    *(
        CHUNKED + b"zz\r\n",
        CHUNKED + b"-1\r\nx\r\n",
        CHUNKED + b"1d\r\n" + EVENT,
        CHUNKED + b"5\r\n" + EVENT,
    ),
    *(CHUNKED + b"f" * 40 + b"\r\n", CHUNKED + b"1;" + b"e" * 5_000 + b"\r\nx\r\n0\r\n\r\n"),
    *(CHUNKED + b"1\r\n{\r\n0\r\nTrailer: " + b"t" * 5_000, CHUNKED + b"0\r\n\r\n" + b"garbage"),
    *(
        UPGRADE + b"\xff" * 32,
        UPGRADE + b"\x81\x05hello",
        UPGRADE + b"\x81\xff" + b"\xff" * 8 + b"m" * 9,
    ),
    *(
        UPGRADE
        + b"\x81\x84mask"
        + bytes(a ^ b for a, b in zip(b"\xff\xff\xff\xff", b"mask", strict=True)),
    ),
    *(
        UPGRADE + b"\x88\x80mask",
        UPGRADE + b"\x89\xfe\x00\x7e" + b"m" * 130,
        UPGRADE + b"\xf1\x80mask",
    ),
    UPGRADE.replace(b": 13", b": 99"),
    UPGRADE.replace(b"dGhl", b"\xff"),
]


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def serve(
    request: pytest.FixtureRequest,
    session_redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[CarillonProcess]:
    settings = {
        "DJANGO_SETTINGS_MODULE": "tests.fuzzing.plain_static_settings",
        "PORT": "0",
        "CARILLON_DRAIN_SECONDS": "0",
        "CARILLON_REQUEST_TIMEOUT": "1",
    }
    variables = environment(session_redis.url, tmp_path_factory.mktemp("project"), settings)
    with carillon_process("serve", "--server", request.param, environment=variables) as serve:
        wait_until_ready(serve.port)
        yield serve
        assert serve.end() == 0
        assert "Traceback" not in serve.output, serve.output[-5000:]
        errors = re.findall(r".* ERROR .*", serve.output)
        assert [line for line in errors if INCOMPLETE_RESPONSE not in line] == []


def mutated(rng: random.Random) -> bytes:
    """A valid request, or several, with up to four mutations."""
    data = rng.choice(VALID)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                data = data[:at]
            case 1:
                data = data[:at] + rng.randbytes(rng.randint(1, 4)) + data[at:]
            case 2:
                data = data[:at] + data[at + rng.randint(1, 9) :]
            case 3:
                data = data[:at] + rng.choice(VALID + INVALID)[:2_000]
            case _:
                data = data[:at] + rng.choice([b"\r\n", b"\n", b" ", b"\0", b":", b"%"]) + data[at:]
    return data


async def send(port: int, data: bytes, rng: random.Random) -> bytes:
    """The answer up to the moment when the client leaves, with or without a proper close."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        # The server may end the connection at any moment.
        with suppress(OSError):
            cut = rng.randrange(len(data) + 1)
            for part in (data[:cut], data[cut:]):
                writer.write(part)
                await writer.drain()
            match rng.randrange(4):
                case 0:
                    return b""  # the client leaves at once
                case 1:
                    writer.write_eof()
            async with asyncio.timeout(READ_SECONDS):
                while received := await reader.read(65536):
                    answer += received
        if rng.random() < 0.3 and not writer.is_closing():
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return answer


@pytest.mark.usefixtures("no_loop_debugging")
async def test_after_any_bytes_the_next_request_is_answered(serve: CarillonProcess) -> None:
    rng = random.Random(1)
    inputs = INVALID + [mutated(rng) for _ in range(CONNECTIONS)]
    semaphore = asyncio.Semaphore(MAX_CONCURRENT)

    async def send_one(number: int, data: bytes) -> tuple[bytes, bytes]:
        async with semaphore:
            return data, await send(serve.port, data, random.Random(number))

    async with asyncio.timeout(6 * DEADLINE_SECONDS):
        answers = await asyncio.gather(
            *(send_one(number, data) for number, data in enumerate(inputs))
        )
    for data, answer in answers:
        for status in re.findall(rb"HTTP/1\.[01] (\d{3})", answer):
            assert int(status) < 500, (data, answer)
    async with (
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{serve.port}", timeout=DEADLINE_SECONDS
        ) as client,
        subscribe(serve.port, "demo.after") as stream,
    ):
        assert (await client.get("/health/live")).status_code == 200
        await stream.next()
        headers = {"Authorization": f"Bearer {PUBLISH_KEY}"}
        event = {"topic": "demo.after", "data": "still here"}
        assert (await client.post("/publish/", json=event, headers=headers)).status_code == 201
        assert (await stream.next_event()).data == "still here"

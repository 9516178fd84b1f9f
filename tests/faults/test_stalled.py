"""Clients that do not read, or leave without notice, are closed and delay no other client."""

import asyncio
import ctypes
import socket
import struct
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.faults.site import publish
from tests.faults.stalled import (
    KEEPALIVE_SECONDS,
    MIB,
    WRITE_DEADLINE_SECONDS,
    close_reasons,
    connect_without_reading,
    has_closed,
    is_connected,
    is_disconnected,
    reading,
    server_of_kind,
    stream_request,
    wait_until,
)
from tests.harness.event_source import Stream
from tests.harness.servers import SERVERS, RedisServer, WebServer, uvicorn

EVENT_BYTES = 60_000
BATCH = 8
STALLED = 10
PUBLISHED_BYTES = 50 * MIB
GROWTH_BYTES = 24 * MIB
"""Of the whole process: the ten clients that do not read hold one chunk each."""
DELAY_SECONDS = 8.0
SLACK_SECONDS = 15.0
"""For a busy machine."""

pytestmark = pytest.mark.usefixtures("loop_without_debug")


async def _publish_past(stream: Stream, publisher: WebServer, topic: str, size: int) -> float:
    """Publish so many bytes, which the stream reads; return its longest wait for a batch."""
    loop = asyncio.get_running_loop()
    longest = 0.0
    for _ in range(size // (BATCH * EVENT_BYTES)):
        cursors = await publish(publisher, topic, *["x" * EVENT_BYTES] * BATCH)
        acknowledged = loop.time()
        for cursor in cursors:
            assert (await stream.next_event()).id == cursor
        longest = max(longest, loop.time() - acknowledged)
    return longest


@pytest.mark.parametrize("kind", sorted(SERVERS))
async def test_clients_that_do_not_read_delay_nobody_cost_little_and_are_closed(
    kind: str, redis: RedisServer, topic: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        web = stack.enter_context(
            server_of_kind(
                kind, redis, tmp_path / "web", fresh=True, write_deadline=DELAY_SECONDS + 2
            )
        )
        publisher = stack.enter_context(uvicorn(redis.url, tmp_path / "publisher"))
        async with reading(web, topic) as stream:
            await _publish_past(stream, publisher, topic, PUBLISHED_BYTES // 5)
            memory = psutil.Process(web.pid).memory_info().rss
            for _ in range(STALLED):
                stack.enter_context(connect_without_reading(web.port, stream_request(topic)))
            delay = await _publish_past(stream, publisher, topic, PUBLISHED_BYTES)
            grown = psutil.Process(web.pid).memory_info().rss - memory
            print(f"{delay=:.3f} s, grown={grown / MIB:.1f} MiB")  # noqa: T201
            assert delay < DELAY_SECONDS
            assert grown < GROWTH_BYTES
            await wait_until(web, lambda: len(close_reasons(web)) == STALLED)
            assert set(close_reasons(web)) <= {"too_slow", "fell_behind"}


@pytest.mark.parametrize("kind", sorted(SERVERS))
async def test_a_client_that_pipelines_a_request_and_leaves_is_freed(
    kind: str, redis: RedisServer, topic: str, tmp_path: Path
) -> None:
    with server_of_kind(kind, redis, tmp_path) as web:
        async with reading(web, topic) as stream:
            # The server then has all the connections of its own, to Redis, which it keeps.
            await _publish_past(stream, web, topic, MIB)
            with connect_without_reading(web.port, stream_request(topic) * 2) as client:
                assert client.recv(1)
                address = client.getsockname()
                await wait_until(web, lambda: is_connected(web, address))
            await wait_until(web, lambda: len(close_reasons(web)) == 1)
            await wait_until(web, lambda: is_disconnected(web, address))
            await publish(web, topic, "go on")
            assert (await stream.next_event()).data == "go on"


@pytest.mark.parametrize("kind", sorted(SERVERS))
@pytest.mark.parametrize("requests", [1, 2], ids=["one request", "pipelined"])
async def test_a_client_that_does_not_read_is_freed_by_the_write_deadline(
    kind: str, requests: int, redis: RedisServer, topic: str, tmp_path: Path
) -> None:
    with server_of_kind(kind, redis, tmp_path, history=64 * MIB) as web:
        async with reading(web, topic) as stream:
            await _publish_past(stream, web, topic, MIB)
            with connect_without_reading(web.port, stream_request(topic) * requests) as client:
                address = client.getsockname()
                await _publish_past(stream, web, topic, 16 * MIB)
                await wait_until(web, lambda: close_reasons(web) == ["too_slow"])
                await wait_until(web, lambda: is_disconnected(web, address))


SO_ATTACH_FILTER = 26
DROP_ALL = struct.pack("HBBI", 6, 0, 0, 0)  # BPF: keep 0 bytes of each packet


def _vanish(client: socket.socket) -> None:
    """Drop all its incoming packets, and acknowledge none, as if its machine were gone."""
    program = ctypes.create_string_buffer(DROP_ALL)
    option = struct.pack("HP", 1, ctypes.addressof(program))
    client.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)


@pytest.mark.skipif(sys.platform != "linux", reason="a filter of Linux, and a timeout of Linux")
async def test_a_client_that_vanished_is_closed_after_a_keep_alive_and_the_write_deadline(
    redis: RedisServer, topic: str, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        webs = [
            stack.enter_context(server_of_kind(kind, redis, tmp_path / kind)) for kind in SERVERS
        ]
        addresses = []
        for web in webs:
            async with reading(web, topic):
                pass
            await wait_until(web, partial(has_closed, web, 1))
            client = stack.enter_context(connect_without_reading(web.port, stream_request(topic)))
            assert client.recv(1)
            addresses.append(client.getsockname())
            await wait_until(web, partial(is_connected, web, addresses[-1]))
            _vanish(client)
        vanished = loop.time()
        for web, address in zip(webs, addresses, strict=True):
            await wait_until(web, partial(has_closed, web, 2))
            await wait_until(web, partial(is_disconnected, web, address))
            assert close_reasons(web)[-1] == "too_slow"
        longest = 1.25 * KEEPALIVE_SECONDS + WRITE_DEADLINE_SECONDS + SLACK_SECONDS
        assert loop.time() - vanished < longest

"""WebSockets whose clients do not read cost a chunk each, and are closed."""

import json
import os
import socket
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.faults.site import publish
from tests.faults.stalled import (
    MIB,
    close_reasons,
    connect_without_reading,
    connected_clients,
    reading,
    server_of_kind,
    wait_until,
)
from tests.harness.servers import SERVERS, RedisServer

EVENT_BYTES = 60_000
BATCH = 8
HISTORY_BYTES = 16 * MIB
STALLED = 6
GROWTH_BYTES = 16 * MIB
"""Of the whole process. The clients requested six times as much."""

pytestmark = pytest.mark.usefixtures("loop_without_debug")

HANDSHAKE = (
    "GET /ws/events/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def _stall(port: int, topic: str) -> socket.socket:
    """Subscribe twice to all of a topic, and read nothing of it."""
    client = connect_without_reading(port, HANDSHAKE.encode())
    response = b""
    while b"\r\n\r\n" not in response:
        response += client.recv(256)
    assert response.startswith(b"HTTP/1.1 101"), response
    for id in "ab":
        command = {"type": "subscribe", "id": id, "topics": [topic], "since": "all"}
        client.sendall(_masked(json.dumps(command).encode()))
    return client


def _masked(payload: bytes) -> bytes:
    """A text frame from a client, with a length of one byte (RFC 6455 §5.2)."""
    assert len(payload) < 126
    mask = os.urandom(4)
    body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([0x81, 0x80 | len(payload)]) + mask + body


@pytest.mark.parametrize("kind", sorted(SERVERS))
async def test_websockets_that_do_not_read_cost_little_and_are_closed(
    kind: str, redis: RedisServer, topic: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        web = stack.enter_context(server_of_kind(kind, redis, tmp_path / "web", history=64 * MIB))
        async with reading(web, topic) as stream:
            for _ in range(HISTORY_BYTES // (BATCH * EVENT_BYTES)):
                last = (await publish(web, topic, *["x" * EVENT_BYTES] * BATCH))[-1]
                while (await stream.next_event()).id != last:
                    pass
            before = psutil.Process(web.pid).memory_info().rss
            stalled = [stack.enter_context(_stall(web.port, topic)) for _ in range(STALLED)]
            addresses = {client.getsockname() for client in stalled}
            await wait_until(web, lambda: close_reasons(web).count("too_slow") >= STALLED)
            grown = psutil.Process(web.pid).memory_info().rss - before
            assert grown < GROWTH_BYTES
            await wait_until(web, lambda: not addresses & connected_clients(web))
            await publish(web, topic, "go on")
            assert (await stream.next_event()).data == "go on"

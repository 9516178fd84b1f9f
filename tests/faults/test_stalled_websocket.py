"""WebSockets whose clients do not read: they cost a chunk each, and are closed."""

import json
import os
import socket
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.faults.site import publish
from tests.faults.test_stalled import _clients, _reading, _reasons, _server, _until
from tests.harness.event_source import DEADLINE
from tests.harness.servers import SERVERS, RedisServer

MIB = 1024 * 1024
EVENT = 60_000
BATCH = 8
HISTORY = 16 * MIB
STALLED = 6
GROWTH = 16 * MIB
"""Of all the process. What they asked for is six times as much."""

pytestmark = pytest.mark.usefixtures("swift_loop")

HANDSHAKE = (
    "GET /ws/events/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def _stall(port: int, topic: str) -> socket.socket:
    """Ask for all of a topic under two names, and read nothing of it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(DEADLINE)
    client.connect(("127.0.0.1", port))
    client.sendall(HANDSHAKE.encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += client.recv(256)
    assert answer.startswith(b"HTTP/1.1 101"), answer
    for id in "ab":
        command = {"type": "subscribe", "id": id, "topics": [topic], "since": "all"}
        client.sendall(_masked(json.dumps(command).encode()))
    return client


def _masked(payload: bytes) -> bytes:
    """A text frame as a client's, RFC 6455 §5.2: not so short, not so long."""
    assert len(payload) < 126
    mask = os.urandom(4)
    body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([0x81, 0x80 | len(payload)]) + mask + body


@pytest.mark.parametrize("kind", sorted(SERVERS))
async def test_websockets_that_do_not_read_cost_little_and_are_closed(
    kind: str, redis: RedisServer, topic: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        web = stack.enter_context(_server(kind, redis, tmp_path / "web", history=64 * MIB))
        async with _reading(web, topic) as stream:
            for _ in range(HISTORY // (BATCH * EVENT)):
                last = (await publish(web, topic, *["x" * EVENT] * BATCH))[-1]
                while (await stream.next_event()).id != last:
                    pass
            before = psutil.Process(web.pid).memory_info().rss
            stalled = [stack.enter_context(_stall(web.port, topic)) for _ in range(STALLED)]
            addresses = {client.getsockname() for client in stalled}
            await _until(web, lambda: _reasons(web).count("too_slow") >= STALLED)
            grown = psutil.Process(web.pid).memory_info().rss - before
            assert grown < GROWTH
            await _until(web, lambda: not addresses & _clients(web))
            await publish(web, topic, "go on")
            assert (await stream.next_event()).data == "go on"

"""Publishing that the referee does not do: many events in one request."""

import http.client
import json
import socket
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import BufferedReader
from queue import Empty, SimpleQueue
from typing import Any

from benchmarks.peers import PUBLISH_KEY, Peer
from benchmarks.processes import Broken

HEADERS = {"Authorization": f"Bearer {PUBLISH_KEY}", "Content-Type": "application/x-ndjson"}
DEADLINE = 60.0
_ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


def ndjson(events: Iterable[dict[str, Any]]) -> bytes:
    return b"\n".join(json.dumps(event).encode() for event in events)


def post(peer: Peer, batches: Iterable[bytes]) -> list[dict[str, Any]]:
    """Publish the batches one after the other on one connection; the last answer's events."""
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=DEADLINE)
    body = b'{"events": []}'
    try:
        for batch in batches:
            connection.request("POST", peer.publish_path, body=batch, headers=HEADERS)
            response = connection.getresponse()
            body = response.read()
            if response.status != 201:
                raise Broken(f"Publishing was answered with {response.status}: {body[:200]!r}")
    finally:
        connection.close()
    events: list[dict[str, Any]] = json.loads(body)["events"]
    return events


@contextmanager
def listening(peer: Peer, path: str, **headers: str) -> Iterator[http.client.HTTPResponse]:
    """One open stream, which has its opening block."""
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=DEADLINE)
    try:
        connection.request("GET", path, headers=headers)
        yield connection.getresponse()
    finally:
        connection.close()


def read_until(stream: http.client.HTTPResponse, mark: bytes, *, times: int = 1) -> None:
    """Raises `Broken` if the stream ends or falls silent before."""
    while times:
        try:
            line = stream.readline()
        except TimeoutError:
            line = b""
        if not line:
            raise Broken(f"LOST: a stream did not get {mark!r} ({times} times).")
        times -= mark in line


@contextmanager
def gathering(peer: Peer, *, size: int, pause: float) -> Iterator[int]:
    """The port of a publisher that takes the referee's single events and sends them in batches.

    It answers each at once. A batch goes out when it has `size` events, or `pause` seconds after
    its first, as from a publisher with much to say. Raises `Broken` at the end, if need be.
    """
    lines: SimpleQueue[bytes | None] = SimpleQueue()
    with (
        ThreadPoolExecutor(2) as pool,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        taking = pool.submit(_take, listener, lines)
        sending = pool.submit(post, peer, _gathered(lines, size=size, pause=pause))
        try:
            yield listener.getsockname()[1]
        finally:
            # Where the referee never came, nobody else ends the wait for it.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
    taking.result()
    sending.result()


def _take(listener: socket.socket, lines: "SimpleQueue[bytes | None]") -> None:
    """The bodies of one connection's requests, and None when it ends."""
    try:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as reader:
                while body := _body(reader):
                    lines.put(body)
                    connection.sendall(_ACCEPTED)
    finally:
        lines.put(None)


def _body(reader: BufferedReader) -> bytes:
    """What follows the head of a request, by its Content-Length; nothing at the end."""
    length = 0
    while (line := reader.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return reader.read(length)


def _gathered(lines: "SimpleQueue[bytes | None]", *, size: int, pause: float) -> Iterator[bytes]:
    line = lines.get()
    while line is not None:
        batch = [line]
        deadline = time.monotonic() + pause
        with suppress(Empty):
            while len(batch) < size:
                line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
                if line is None:
                    break
                batch.append(line)
        yield b"\n".join(batch)
        line = line and lines.get()

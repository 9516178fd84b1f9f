"""A client for what the referee cannot do: publish batches, and read one stream."""

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
DEADLINE_SECONDS = 60.0
_ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


def ndjson(events: Iterable[dict[str, Any]]) -> bytes:
    return b"\n".join(json.dumps(event).encode() for event in events)


def post(peer: Peer, batches: Iterable[bytes]) -> list[dict[str, Any]]:
    """Publish one batch after the other on one connection; the events of the last response."""
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=DEADLINE_SECONDS)
    body = b'{"events": []}'
    try:
        for batch in batches:
            connection.request("POST", peer.publish_path, body=batch, headers=HEADERS)
            response = connection.getresponse()
            body = response.read()
            if response.status != 201:
                raise Broken(f"Publishing got the status {response.status}: {body[:200]!r}")
    finally:
        connection.close()
    events: list[dict[str, Any]] = json.loads(body)["events"]
    return events


@contextmanager
def open_stream(peer: Peer, path: str, **headers: str) -> Iterator[http.client.HTTPResponse]:
    """One stream, for as long as the block runs."""
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=DEADLINE_SECONDS)
    try:
        connection.request("GET", path, headers=headers)
        yield connection.getresponse()
    finally:
        connection.close()


def read_until(stream: http.client.HTTPResponse, mark: bytes, *, times: int = 1) -> None:
    """Read until a mark has come so many times. Raises `Broken` if the stream ends before."""
    while times:
        try:
            line = stream.readline()
        except TimeoutError:
            line = b""
        if not line:
            raise Broken(f"LOST: a stream did not get {mark!r} ({times} times).")
        times -= mark in line


@contextmanager
def batching(peer: Peer, *, size: int, pause: float) -> Iterator[int]:
    """The port of a publisher that takes the referee's single events and sends them in batches.

    It answers each event at once. A batch goes out when it has `size` events, or `pause` seconds
    after its first, as from a publisher with many events. Raises `Broken` at the end on a failure.
    """
    lines: SimpleQueue[bytes | None] = SimpleQueue()
    with (
        ThreadPoolExecutor(2) as pool,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        receiving = pool.submit(_receive, listener, lines)
        sending = pool.submit(post, peer, _batches(lines, size=size, pause=pause))
        try:
            yield listener.getsockname()[1]
        finally:
            # Ends the wait for a referee that never connected.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
    receiving.result()
    sending.result()


def _receive(listener: socket.socket, lines: "SimpleQueue[bytes | None]") -> None:
    """Put the bodies of one connection's requests, and None at its end."""
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
    """The body of the next request, by its Content-Length; nothing at the end."""
    length = 0
    while (line := reader.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return reader.read(length)


def _batches(lines: "SimpleQueue[bytes | None]", *, size: int, pause: float) -> Iterator[bytes]:
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

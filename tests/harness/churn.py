"""A client that opens many streams and closes them all as soon as each has begun."""

import selectors
import socket
import time
from contextlib import ExitStack

BATCH = 50
DEADLINE_SECONDS = 60.0


def churn(port: int, path: str, *, streams: int, batch: int = BATCH) -> None:
    """Open and close so many streams, `batch` at a time."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    for begun in range(0, streams, batch):
        _open_and_close(port, request, streams=min(batch, streams - begun))


def _open_and_close(port: int, request: bytes, *, streams: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        for _ in range(streams):
            client = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS)
            stack.enter_context(client)
            client.sendall(request)
            selector.register(client, selectors.EVENT_READ, (client, bytearray()))
        while selector.get_map():
            if time.monotonic() > deadline:
                raise TimeoutError("Some streams do not begin.")
            for key, _ in selector.select(DEADLINE_SECONDS):
                if _has_begun(*key.data):
                    selector.unregister(key.fileobj)


def _has_begun(client: socket.socket, received: bytearray) -> bool:
    data = client.recv(65_536)
    received.extend(data)
    if not data:
        raise ConnectionError(f"The stream did not begin: {bytes(received)!r}")
    return b"event: stream." in received

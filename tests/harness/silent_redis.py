"""A fake Redis that accepts commands and acknowledges none of them."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Handler(socketserver.BaseRequestHandler):
    """Replies to the `CLIENT` commands that a client sends on connecting, and to nothing else."""

    def handle(self) -> None:
        while received := self.request.recv(65536):
            if b"EVAL" not in received:
                self.request.sendall(b"+OK\r\n" * received.count(b"\r\nCLIENT\r\n"))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@contextmanager
def silent_redis() -> Iterator[str]:
    """Yields its URL."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        finally:
            server.shutdown()
            thread.join()

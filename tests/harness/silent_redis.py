"""A Redis that takes everything and acknowledges nothing."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Silent(socketserver.BaseRequestHandler):
    """It answers what a client says of itself on connecting, and no more."""

    def handle(self) -> None:
        while said := self.request.recv(65536):
            if b"EVAL" not in said:
                self.request.sendall(b"+OK\r\n" * said.count(b"\r\nCLIENT\r\n"))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@contextmanager
def silent_redis() -> Iterator[str]:
    """Its URL."""
    with _Server(("127.0.0.1", 0), _Silent) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        finally:
            server.shutdown()
            thread.join()

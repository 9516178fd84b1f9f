"""A fake Redis that executes nothing: it acknowledges no command, or replies what none replies."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Handler(socketserver.BaseRequestHandler):
    """Replies to the `CLIENT` commands that a client sends on connecting, and to scripts."""

    server: "_Server"

    def handle(self) -> None:
        while received := self.request.recv(65536):
            if b"EVAL" in received:
                self.request.sendall(self.server.reply)
            else:
                self.request.sendall(b"+OK\r\n" * received.count(b"\r\nCLIENT\r\n"))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    reply: bytes


@contextmanager
def silent_redis(reply: bytes = b"") -> Iterator[str]:
    """Yields its URL. `reply`: to each script."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.reply = reply
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        finally:
            server.shutdown()
            thread.join()

"""A collector on this machine, to which an error tracker or APM agent sends what it collects."""

import gzip
import json
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Collector:
    """Counts the items that arrive: Sentry's by type, Elastic's by type."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.items: list[tuple[str, Any]] = []
        self.paths = Counter[str]()

    def count(self) -> Counter[str]:
        return Counter(kind for kind, _ in list(self.items))

    def receive(self, path: str, body: bytes) -> None:
        self.paths[path.partition("?")[0]] += 1
        lines = body.split(b"\n")
        if path.endswith("/envelope/"):  # a header, then a header and a payload for each item
            for header, payload in zip(lines[1::2], lines[2::2], strict=False):
                self.items.append((json.loads(header)["type"], json.loads(payload)))
        elif path.startswith("/intake/"):
            for line in filter(None, lines):
                [(kind, content)] = json.loads(line).items()
                self.items.append((kind, content))


@contextmanager
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _answer(self) -> None:
            body = self._body()
            encoding = self.headers.get("Content-Encoding", "")
            if encoding == "gzip":
                body = gzip.decompress(body)
            elif encoding == "deflate":
                body = zlib.decompress(body)
            collected.receive(self.path, body)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_GET = do_POST = do_PUT = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            """The tests count, and read no log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collected = Collector(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield collected
        finally:
            server.shutdown()

"""One request to the project's whole ASGI application, as a server hands it over."""

import asyncio
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

DEADLINE = 10.0

type Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Sent:
    """`target` is as it is on the wire; the body comes in pieces."""

    method: str
    target: bytes
    headers: Headers = ()
    body: Sequence[bytes] = (b"",)

    @property
    def scope(self) -> dict[str, Any]:
        raw_path, _, query = self.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": unquote(raw_path.decode("latin1")),  # as uvicorn and Daphne do
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": list(self.headers),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def kind(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def exchange(application: Any, sent: Sent) -> Answer:
    """A stream's answer is its head and its first bytes: then the client leaves."""
    answer = Answer()
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    for number, piece in enumerate(sent.body, 1):
        more = number < len(sent.body)
        incoming.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            for name, value in message["headers"]:
                answer.headers[name.decode("ascii").lower()] = value.decode("latin1")
        else:
            answer.body += message.get("body", b"")
            if answer.kind == "text/event-stream" or not message.get("more_body"):
                incoming.put_nowait({"type": "http.disconnect"})

    async with asyncio.timeout(DEADLINE):
        await application(sent.scope, incoming.get, send)
    return answer


class Complaints(logging.Handler):
    """What is logged as an error, or with a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.exc_info:
            self.heard.append(logging.Formatter().format(record))


@contextmanager
def complaints() -> Iterator[list[str]]:
    handler = Complaints()
    loggers = [logging.getLogger(name) for name in (None, "django", "carillon", "asyncio")]
    for each in loggers:
        each.addHandler(handler)
    try:
        yield handler.heard
    finally:
        for each in loggers:
            each.removeHandler(handler)

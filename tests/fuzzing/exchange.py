"""One request to the project's ASGI application, in the form that a server gives it."""

import asyncio
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

DEADLINE_SECONDS = 60.0

type Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Request:
    """A request. `target` is in its encoded form, and the body in the chunks that arrive."""

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
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def exchange(application: Any, request: Request) -> Answer:
    """Send a request and return the answer. The client leaves a stream after its first bytes."""
    answer = Answer()
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    for number, chunk in enumerate(request.body, 1):
        more = number < len(request.body)
        incoming.put_nowait({"type": "http.request", "body": chunk, "more_body": more})

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            for name, value in message["headers"]:
                answer.headers[name.decode("ascii").lower()] = value.decode("latin1")
        else:
            answer.body += message.get("body", b"")
            if answer.content_type == "text/event-stream" or not message.get("more_body"):
                incoming.put_nowait({"type": "http.disconnect"})

    async with asyncio.timeout(DEADLINE_SECONDS):
        await application(request.scope, incoming.get, send)
    return answer


class ErrorRecorder(logging.Handler):
    """Records what is logged as an error or with a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.exc_info:
            self.errors.append(logging.Formatter().format(record))


@contextmanager
def recorded_errors() -> Iterator[list[str]]:
    handler = ErrorRecorder()
    loggers = [logging.getLogger(name) for name in (None, "django", "carillon", "asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield handler.errors
    finally:
        for logger in loggers:
            logger.removeHandler(handler)

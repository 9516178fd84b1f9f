"""Reads the body of a request before Django does: within a limit, and without a disk if need be."""

import json
from contextlib import ExitStack
from http import HTTPStatus
from io import BytesIO
from tempfile import SpooledTemporaryFile, gettempdir
from typing import IO, Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import RequestAborted

from notifications.conf import get_settings
from notifications.errors import CarillonError, NoRoom, TooLarge
from notifications.telemetry.logs import logger
from notifications.transport.base import Message, Receive

PROBLEM_TYPE = "application/problem+json"


class RefusedBody(BytesIO):
    """Stands for a body that was not read, and has the error to answer with."""

    def __init__(self, error: CarillonError) -> None:
        super().__init__()
        self.error = error


async def read_body(receive: Receive) -> IO[bytes]:
    """The body as a file, in memory if it is small; a `RefusedBody` if it cannot be read."""
    first = await receive()
    if first["type"] == "http.disconnect":
        raise RequestAborted
    body = first.get("body", b"")
    if not first.get("more_body") and is_small(body):
        return BytesIO(body)
    try:
        return await _read(first, receive)
    except TooLarge as error:
        return RefusedBody(error)
    except OSError as error:
        return RefusedBody(not_stored(error))


async def _read(message: Message, receive: Receive) -> IO[bytes]:
    in_memory = settings.FILE_UPLOAD_MAX_MEMORY_SIZE if _has_folder() else 0  # without a limit
    limit = get_settings().MAX_REQUEST_BYTES
    size = 0
    with ExitStack() as stack:
        file = stack.enter_context(SpooledTemporaryFile(max_size=in_memory))
        while True:
            if message["type"] == "http.disconnect":
                raise RequestAborted
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"A request may have at most {limit} bytes.")
            if 0 < in_memory < size:  # on a disk, which may block
                await sync_to_async(file.write, thread_sensitive=False)(chunk)
            else:
                file.write(chunk)
            if not message.get("more_body"):
                file.seek(0)
                stack.pop_all()  # the handler closes it
                return file
            message = await receive()


def is_small(body: bytes) -> bool:
    """Whether a body that came in one message needs neither a file nor a refusal."""
    limit = get_settings().MAX_REQUEST_BYTES
    return len(body) <= min(limit, settings.FILE_UPLOAD_MAX_MEMORY_SIZE)


def _has_folder() -> bool:
    """Whether there is a folder for temporary files."""
    try:
        gettempdir()
    except OSError:
        return False
    return True


def not_stored(error: OSError) -> NoRoom:
    logger.error("body.not_stored", error=str(error))
    return NoRoom("The folder for temporary files has no room for a body of this size.")


def problem(error: CarillonError) -> dict[str, Any]:
    """A problem (RFC 9457) for a request that no view gets."""
    return {
        "type": f"urn:carillon:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }


def last_answer(error: CarillonError) -> bytes:
    """An HTTP/1.1 response, for a server whose application does not get the request."""
    body = json.dumps(problem(error)).encode()
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\nConnection: close\r\n"
        f"Content-Type: {PROBLEM_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body

"""A mail server on loopback that keeps what it gets: as much of RFC 5321 as `smtplib` needs."""

import asyncio
import email
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from typing import Any

from django import VERSION

DEADLINE_SECONDS = 60.0


@dataclass
class MailServer:
    """Its attributes may be set from any thread, and apply to the messages that come after."""

    port: int = 0
    contents: list[bytes] = field(default_factory=list)
    hang_up: int = 0
    """So many messages are accepted without an answer: the connection ends."""

    @property
    def messages(self) -> list[EmailMessage]:
        return [_parsed(content) for content in list(self.contents)]

    @property
    def ids(self) -> list[str]:
        """The `Message-ID` of each message."""
        found = (re.search(rb"^Message-ID: (\S+)\r$", each, re.MULTILINE) for each in self.contents)
        return [match[1].decode() for match in found if match]

    def _run(self, started: threading.Event) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._serve(started))

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._session, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._ending.wait()
        server.close()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            writer.write(b"220 ready\r\n")
            while line := await reader.readline():
                command = line[:4].upper()
                if command == b"DATA":
                    writer.write(b"354 go on\r\n")
                    content = await reader.readuntil(b"\r\n.\r\n")
                    self.contents.append(content)
                    if self.hang_up:
                        self.hang_up -= 1
                        break
                writer.write(b"221 bye\r\n" if command == b"QUIT" else b"250 OK\r\n")
                if command == b"QUIT":
                    break
                await writer.drain()
        writer.close()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)


def mail_settings(port: int) -> dict[str, Any]:
    """Django's settings for a mail server on this port."""
    if VERSION >= (6, 1):
        return {"MAILERS": {"default": {"OPTIONS": {"host": "127.0.0.1", "port": port}}}}
    return {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": port}


def _parsed(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content.removesuffix(b".\r\n"), policy=default)
    assert isinstance(message, EmailMessage)
    return message


@contextmanager
def mail_server() -> Iterator[MailServer]:
    server, started = MailServer(), threading.Event()
    thread = threading.Thread(target=server._run, args=[started], name="mail server", daemon=True)
    thread.start()
    assert started.wait(DEADLINE_SECONDS)
    try:
        yield server
    finally:
        server.end()
        thread.join(DEADLINE_SECONDS)

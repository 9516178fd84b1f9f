"""Wires: what carries bytes to one client, one chunk at a time.

A wire takes a chunk only while it is not `busy`, and holds no other. A chunk that cannot go out at
once makes it busy; when it has drained it says so to its owner, once. How much a client that does
not read can make us hold is decided here, on every server.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from functools import partial
from typing import Any, Protocol

type Message = Mapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]


GRACE = 1.0


class Owner(Protocol):
    """Who is told what became of the bytes. Called from the event loop, never from `write`."""

    def drained(self) -> None:
        """The wire takes another chunk."""

    def lost(self) -> None:
        """The wire can carry nothing more."""


class Wire(ABC):
    owner: Owner

    @property
    @abstractmethod
    def busy(self) -> bool:
        """Whether the last chunk is still on its way."""

    @abstractmethod
    def write(self, chunk: bytes) -> None:
        """Hand over a chunk. Only while not `busy`."""

    @abstractmethod
    def end(self, chunk: bytes) -> None:
        """The last words, in good order, so that the connection can be used again."""

    @abstractmethod
    def abort(self) -> None:
        """Free everything at once, whatever the client has or has not read."""


class AsgiWire(Wire):
    """Over `send` of any ASGI server, through any middleware.

    `send` runs as an eagerly started task: where it does not wait, there is no task switch, and
    where it waits, that is the server's back-pressure. `give_up` ends the application's side of the
    connection, which is all that a server in general can be told.
    """

    def __init__(self, send: Send, *, give_up: Callable[[], object]) -> None:
        self._send = send
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._sending: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        return self._sending is not None

    def write(self, chunk: bytes) -> None:
        self._put({"type": "http.response.body", "body": chunk, "more_body": True})

    def end(self, chunk: bytes) -> None:
        self._put({"type": "http.response.body", "body": chunk, "more_body": False})

    def abort(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
        self._give_up()

    def _put(self, message: Message) -> None:
        # With an empty context: a server may begin the next request of the connection in here, and
        # that must find nothing of whose turn it was to write.
        task = asyncio.Task(
            self._carry(message), loop=self._loop, eager_start=True, context=Context()
        )
        if not task.done():
            self._sending = task
            task.add_done_callback(self._sent)
        elif task.exception() is not None:
            self._loop.call_soon(self.owner.lost)

    async def _carry(self, message: Message) -> None:
        await self._send(message)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending = None
        if task.cancelled() or task.exception() is not None:
            self.owner.lost()
        else:
            self.owner.drained()


class DaphneWire(AsgiWire):
    """Daphne buffers whatever it is sent; its transport says, to a producer, when that is too much.

    Twisted's interface: `IPushProducer` (pauseProducing, resumeProducing, stopProducing).
    """

    def __init__(self, send: Send, *, give_up: Callable[[], object], request: Any) -> None:
        super().__init__(send, give_up=give_up)
        self._request = request
        self._paused = False
        request.registerProducer(self, True)

    @property
    def busy(self) -> bool:
        return self._paused or super().busy

    def end(self, chunk: bytes) -> None:
        self._request.unregisterProducer()
        super().end(chunk)

    def abort(self) -> None:
        transport = getattr(self._request.channel, "transport", None)
        if transport is not None:
            transport.abortConnection()
        super().abort()

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        self._paused = True

    def resumeProducing(self) -> None:  # noqa: N802
        if self._paused:
            self._paused = False
            self._loop.call_soon(self.owner.drained)

    def stopProducing(self) -> None:  # noqa: N802
        # The connection is gone, and `receive` says that the client left. Should nobody hear it
        # there, this frees the stream: Daphne's `send` would go on as if all were well.
        self._loop.call_later(GRACE, self.owner.lost)


class UvicornWire(AsgiWire):
    """uvicorn closes a connection when all has gone out: never, for a client that stalls."""

    def __init__(self, send: Send, *, give_up: Callable[[], object], transport: Any) -> None:
        super().__init__(send, give_up=give_up)
        self._transport = transport

    def abort(self) -> None:
        self._transport.abort()
        super().abort()


class PullWire(Wire):
    """Where somebody iterates over the response: the stream waits until it is asked for more."""

    def __init__(self) -> None:
        self._chunk: bytes | None = None
        self._ended = False
        self._asked = asyncio.Event()
        self._taken = True

    @property
    def busy(self) -> bool:
        return not self._taken

    def write(self, chunk: bytes) -> None:
        self._chunk = chunk
        self._taken = False
        self._asked.set()

    def end(self, chunk: bytes) -> None:
        self.write(chunk)
        self._ended = True

    def abort(self) -> None:
        self._ended = True
        self._asked.set()

    async def pull(self) -> bytes | None:
        """The next chunk, None at the end. Asking says that the one before is through."""
        if self._chunk is None and not self._taken:
            self._taken = True
            if not self._ended:
                self.owner.drained()
        while self._chunk is None:
            if self._ended:
                return None
            self._asked.clear()
            await self._asked.wait()
        chunk, self._chunk = self._chunk, None
        return chunk


def wire_for(send: Send, *, give_up: Callable[[], object]) -> Wire:
    """The wire for this server, found by its features; unknown ones get an `AsgiWire`."""
    request = _daphne_request(send)
    if request is not None:
        return DaphneWire(send, give_up=give_up, request=request)
    transport = _uvicorn_transport(send)
    if transport is not None:
        return UvicornWire(send, give_up=give_up, transport=transport)
    return AsgiWire(send, give_up=give_up)


def _daphne_request(send: Send) -> Any | None:
    """Daphne's `send` is `partial(server.handle_reply, request)`; a wrapped one is left alone."""
    if not isinstance(send, partial) or len(send.args) != 1:
        return None
    request = send.args[0]
    known = type(request).__module__.startswith("daphne.")
    return request if known and request.channel is not None and request.producer is None else None


def _uvicorn_transport(send: Send) -> Any | None:
    """uvicorn's `send` is a method of its request's cycle; a wrapped one is left alone."""
    cycle = getattr(send, "__self__", None)
    transport = getattr(cycle, "transport", None)
    known = type(cycle).__module__.startswith("uvicorn.")
    return transport if known and hasattr(transport, "abort") else None

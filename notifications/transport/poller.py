"""Watches the sockets of all streams of an event loop by one epoll, which the loop itself watches.

A socket that the event loop watches by itself costs a handle, a callback and a key of its selector.
Here it costs one entry of a dictionary. What a client sends wakes nobody.
"""

import asyncio
import select
import selectors
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from notifications.telemetry.logs import logger

EVENTS_PER_STEP = 128
"""The most sockets that one step of the event loop looks after."""
LINGER_SECONDS = 5.0
"""How long a stream that has ended waits for its client to close the connection."""
DISCARDED_BYTES = 256 * 1024
"""How much of what a client still sends is discarded meanwhile."""
FINISH_SECONDS = 1.0
"""How long a process that stops waits for that."""
POLL_SECONDS = 0.02

_scratch = bytearray(16 * 1024)
"""Where discarded bytes are read into."""


class Watched(Protocol):
    """The owner of a socket, as a poller knows it. It is called on the event loop."""

    def writable(self) -> None:
        """The socket takes bytes again, after it has not taken all."""

    def gone(self) -> None:
        """The client has closed the connection or its half of it, or the connection has failed."""

    def readable(self) -> None:
        """There is something to read: call `discard_input`."""

    def abandon(self) -> None:
        """Close this process's descriptor, call nobody, and never use the poller again."""


class Poller(ABC):
    """Watches sockets. Use it only in its event loop. Remove a socket before you close it: its
    descriptor's number may belong to another socket the moment after."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._watched: dict[int, Watched] = {}
        self._lingering: dict[Lingering, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """The sockets that are watched: those of open streams, and those that linger."""
        return len(self._watched)

    def add(self, connection: socket.socket, owner: Watched) -> None:
        """Watch a socket. If its client has gone already, the owner is told soon."""
        descriptor = connection.fileno()
        self._register(descriptor)
        self._watched[descriptor] = owner

    def remove(self, connection: socket.socket) -> None:
        """Watch it no longer. Idempotent."""
        if self._watched.pop(connection.fileno(), None) is not None:
            self._unregister(connection.fileno())

    @abstractmethod
    def await_writable(self, connection: socket.socket) -> None:
        """The socket has not taken all bytes: call its owner's `writable` once it takes more."""

    def close_gently(self, connection: socket.socket) -> None:
        """Close a socket so that its client receives all that has been written.

        A close with unread input sends a reset, which destroys what is on its way (RFC 1122
        §4.2.2.13). So the end of the stream is sent first, and what the client still sends is
        discarded until it closes too, up to a limit of bytes and time.
        """
        try:
            connection.shutdown(socket.SHUT_WR)
        except OSError:  # the connection has failed
            self.remove(connection)
            connection.close()
            return
        lingering = Lingering(connection, self, self.loop.time() + LINGER_SECONDS)
        self._watched[connection.fileno()] = lingering
        self._lingering[lingering] = None
        self._watch_input(connection.fileno())
        self._set_timer()

    def close(self, lingering: "Lingering") -> None:
        """Close a socket that has lingered long enough."""
        del self._lingering[lingering]
        self.remove(lingering.connection)
        lingering.connection.close()

    @property
    def lingering(self) -> int:
        return len(self._lingering)

    async def finish(self) -> None:
        """Wait a moment until no socket is left, and close those that linger."""
        deadline = self.loop.time() + FINISH_SECONDS
        while self._watched and self.loop.time() < deadline:  # noqa: ASYNC110 - many may end
            await asyncio.sleep(POLL_SECONDS)
        for lingering in list(self._lingering):
            self.close(lingering)

    def abandon(self) -> None:
        """The event loop of this poller does not run any more: close all descriptors.

        Nothing is unregistered. In a process that has just been forked, the epoll is that of its
        parent, and the parent's sockets would leave it.
        """
        for owner in list(self._watched.values()):
            owner.abandon()
        self._watched.clear()
        self._lingering.clear()
        self._close()

    def _set_timer(self) -> None:
        if self._timer is None and self._lingering:
            first = next(iter(self._lingering))
            self._timer = self.loop.call_at(first.deadline, self._close_overdue)

    def _close_overdue(self) -> None:
        self._timer = None
        now = self.loop.time()
        for _ in range(EVENTS_PER_STEP):
            first = next(iter(self._lingering), None)
            if first is None or first.deadline > now:
                break
            self.close(first)
        self._set_timer()

    def _dispatch(self) -> None:
        """Tell the owners what has happened to their sockets."""
        events = [(self._watched.get(event[0]), *event) for event in self._events()]
        for owner, descriptor, gone, writable in events:
            # An owner before may have closed this socket, and its number may be another's by now.
            if owner is None or self._watched.get(descriptor) is not owner:
                continue
            try:
                if gone:
                    owner.gone()
                elif writable:
                    owner.writable()
                else:
                    owner.readable()
            except Exception:  # the others' events would be lost with it
                logger.exception("transport.failed")

    @abstractmethod
    def _close(self) -> None: ...

    @abstractmethod
    def _register(self, descriptor: int) -> None: ...

    @abstractmethod
    def _unregister(self, descriptor: int) -> None: ...

    @abstractmethod
    def _watch_input(self, descriptor: int) -> None:
        """From now on call the owner's `readable` too, as long as there is input."""

    @abstractmethod
    def _events(self) -> Iterator[tuple[int, bool, bool]]:
        """For each socket to which something has happened: its descriptor, and whether its client
        is gone, and whether it is writable."""


class EpollPoller(Poller):
    """For Linux. Edge-triggered: a socket is reported writable only after it has been full."""

    OPEN = select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
    CLOSING = select.EPOLLIN
    GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._epoll = select.epoll()
        loop.add_reader(self._epoll.fileno(), self._dispatch)

    def await_writable(self, connection: socket.socket) -> None:
        pass

    def _close(self) -> None:
        self._epoll.close()

    def _register(self, descriptor: int) -> None:
        self._epoll.register(descriptor, self.OPEN)

    def _unregister(self, descriptor: int) -> None:
        self._epoll.unregister(descriptor)

    def _watch_input(self, descriptor: int) -> None:
        self._epoll.modify(descriptor, self.CLOSING)

    def _events(self) -> Iterator[tuple[int, bool, bool]]:
        for descriptor, mask in self._epoll.poll(0, EVENTS_PER_STEP):
            yield descriptor, bool(mask & self.GONE), bool(mask & select.EPOLLOUT)


class SelectorPoller(Poller):
    """For systems without epoll, such as macOS. Input wakes it, since only that tells of an end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._selector = selectors.DefaultSelector()
        loop.add_reader(self._selector.fileno(), self._dispatch)

    def await_writable(self, connection: socket.socket) -> None:
        self._selector.modify(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def _close(self) -> None:
        self._selector.close()

    def _register(self, descriptor: int) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ)

    def _unregister(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)

    def _watch_input(self, descriptor: int) -> None:
        self._selector.modify(descriptor, selectors.EVENT_READ)

    def _events(self) -> Iterator[tuple[int, bool, bool]]:
        for key, mask in self._selector.select(0)[:EVENTS_PER_STEP]:
            writable = bool(mask & selectors.EVENT_WRITE)
            if writable and key.fd in self._watched:
                self._selector.modify(key.fd, selectors.EVENT_READ)
            yield key.fd, False, writable


class Lingering:
    """A socket whose stream has ended, until its client has received everything."""

    __slots__ = ("_left", "_poller", "connection", "deadline")

    def __init__(self, connection: socket.socket, poller: Poller, deadline: float) -> None:
        self.connection = connection
        self.deadline = deadline
        self._poller = poller
        self._left = DISCARDED_BYTES

    def readable(self) -> None:
        received = discard_input(self.connection)
        if received is not None:
            self._left -= received
            if not received or self._left < 0:
                self._poller.close(self)

    gone = readable

    def writable(self) -> None:
        pass

    def abandon(self) -> None:
        self.connection.close()


def discard_input(connection: socket.socket) -> int | None:
    """Read and forget. The number of bytes; 0 at the end or after a failure, None if there are
    none for now."""
    with suppress(OSError):
        try:
            return connection.recv_into(_scratch)
        except BlockingIOError:
            return None
    return 0

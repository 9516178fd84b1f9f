"""What a serving process is told, from its first moment to its last, and what it reports.

A worker hears it from its master over a line that is its stdin: orders one way and reports the
other, a byte each. Where that line ends, so does its process: nobody is left to look after it.
"""

import asyncio
import os
import signal
import socket
from abc import ABC, abstractmethod
from asyncio import AbstractEventLoop
from contextlib import suppress
from enum import Enum


class Order(Enum):
    ACCEPT = b"a"
    """Take connections."""
    DRAIN = b"d"
    """Tell the streams that they end. Nobody else serves the socket, so go on doing so."""
    RETIRE = b"r"
    """Another process serves the socket now: take no more, tell the streams, and end."""
    FINISH = b"f"
    """Nobody can connect any more: serve who still waits, and end."""


class Report(Enum):
    BOOTED = b"b"
    READY = b"r"
    """The window has been loaded."""
    LEAVING = b"l"
    """Somebody who is not the master told this process to end."""
    DRAINED = b"d"
    """No stream is left."""


IMPLIED = {Order.RETIRE: (Order.DRAIN,), Order.FINISH: (Order.ACCEPT, Order.DRAIN)}


class Orders(ABC):
    """The orders so far. None is ever taken back."""

    def __init__(self) -> None:
        self._given = {order: asyncio.Event() for order in Order}

    @abstractmethod
    def listen(self, loop: AbstractEventLoop) -> None:
        """Have the loop hear orders from here on."""

    def report(self, report: Report) -> None:  # noqa: B027 - alone, there is nobody to tell
        """Tell whoever gives the orders."""

    def give(self, order: Order) -> None:
        for each in (order, *IMPLIED.get(order, ())):
            self._given[each].set()

    def given(self, order: Order) -> bool:
        return self._given[order].is_set()

    async def wait(self, order: Order) -> None:
        await self._given[order].wait()


class SignalOrders(Orders):
    """For a process on its own: it serves at once, and ends at Ctrl-C or SIGTERM, at once too."""

    def listen(self, loop: AbstractEventLoop) -> None:
        # As the loop's own: an exception out of a handler would be lost wherever Twisted catches
        # all there are.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.give, Order.FINISH)
        self.give(Order.ACCEPT)


class MasterOrders(Orders):
    def __init__(self) -> None:
        super().__init__()
        self._line = socket.socket(fileno=os.dup(0))
        self._line.setblocking(False)

    def listen(self, loop: AbstractEventLoop) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.report, Report.LEAVING)
        loop.add_reader(self._line.fileno(), self._hear, loop)

    def report(self, report: Report) -> None:
        with suppress(OSError):  # the master is gone, which is heard soon
            self._line.send(report.value)

    def _hear(self, loop: AbstractEventLoop) -> None:
        try:
            heard = self._line.recv(64)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        for byte in heard:
            self.give(Order(bytes([byte])))
        if not heard:
            loop.remove_reader(self._line.fileno())
            self.give(Order.FINISH)

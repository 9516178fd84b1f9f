"""The messages between a supervisor and its workers: commands one way, reports the other.

Each is one byte on a socket pair, whose other end is the worker's standard input. When the socket
pair closes, the supervisor is gone, and the worker stops too, since no process would restart or
stop it any more.
"""

import asyncio
import os
import signal
import socket
from asyncio import AbstractEventLoop
from contextlib import suppress
from enum import Enum


class Command(Enum):
    """The bytes are permanent: a supervisor may be older than the workers that SIGHUP started."""

    ACCEPT = b"a"
    """Accept connections."""
    DRAIN = b"d"
    """End the streams with a closing block, and go on accepting: no other process would."""
    RETIRE = b"r"
    """Another process serves the socket now: accept no more, drain, and exit."""
    STOP = b"f"
    """The port is closed to new connections: serve those that wait in its queue, and exit."""


class Report(Enum):
    """What a worker reports. The bytes are as permanent as those of the commands."""

    STARTED = b"b"
    READY = b"r"
    """The window has been loaded."""
    STOP_REQUESTED = b"l"
    """The worker got a signal to stop, and not from its supervisor."""
    DRAINED = b"d"
    """No stream is left."""


IMPLIED_COMMANDS = {
    Command.RETIRE: (Command.DRAIN,),
    Command.STOP: (Command.ACCEPT, Command.DRAIN),
}


class Commands:
    """The commands that this process has received. No command is ever withdrawn.

    A process without a supervisor accepts connections at once, and Ctrl-C or SIGTERM stops it.
    """

    def __init__(self, supervisor: socket.socket | None = None) -> None:
        self._supervisor = supervisor
        self._received = {command: asyncio.Event() for command in Command}

    @classmethod
    def of_supervisor(cls) -> "Commands":
        """The commands of a worker, which arrive over its standard input."""
        return cls(socket.socket(fileno=os.dup(0)))

    def attach(self, loop: AbstractEventLoop) -> None:
        """Receive commands in this event loop from now on."""
        # An exception raised by a Python signal handler would be lost wherever Twisted catches all.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal)
        if self._supervisor is None:
            self._receive(Command.ACCEPT)
        else:
            self._supervisor.setblocking(False)
            loop.add_reader(self._supervisor, self._read, loop, self._supervisor)

    def report(self, report: Report) -> None:
        """Send a report to the supervisor, if there is one."""
        if self._supervisor is not None:
            with suppress(OSError):  # the supervisor is gone, which the reader notices soon
                self._supervisor.send(report.value)

    def has_received(self, command: Command) -> bool:
        return self._received[command].is_set()

    async def wait(self, command: Command) -> None:
        await self._received[command].wait()

    def _receive(self, command: Command) -> None:
        for received in (command, *IMPLIED_COMMANDS.get(command, ())):
            self._received[received].set()

    def _on_signal(self) -> None:
        if self._supervisor is None:
            self._receive(Command.STOP)
        else:
            self.report(Report.STOP_REQUESTED)

    def _read(self, loop: AbstractEventLoop, supervisor: socket.socket) -> None:
        try:
            data = supervisor.recv(64)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        for byte in data:
            self._receive(Command(bytes([byte])))
        if not data:
            loop.remove_reader(supervisor)
            self._receive(Command.STOP)

"""The commands that a worker gets from its supervisor, and the reports that it sends back.

The two talk over a socket pair, which is the worker's standard input: commands one way and reports
the other, a byte each. When the socket pair closes, the supervisor is gone, and the worker stops
too, since no process would restart or stop it any more.
"""

import asyncio
import os
import signal
import socket
from abc import ABC, abstractmethod
from asyncio import AbstractEventLoop
from contextlib import suppress
from enum import Enum


class WorkerCommand(Enum):
    """A supervisor may be older than the workers that SIGHUP started: the bytes are permanent.

    That is also why `f` is not the first letter of `STOP`: the command was called `FINISH`.
    """

    ACCEPT = b"a"
    """Accept connections."""
    DRAIN = b"d"
    """End the streams with a closing block. No other process serves the socket, so go on accepting
    connections."""
    RETIRE = b"r"
    """Another process serves the socket now: accept no more connections, drain, and exit."""
    STOP = b"f"
    """The port is closed to new connections: serve those that wait in its queue, and exit."""


class Report(Enum):
    """What a worker reports. The bytes are as permanent as those of the commands.

    `b` and `l` come from earlier names: `BOOTED` and `LEAVING`.
    """

    STARTED = b"b"
    READY = b"r"
    """The window has been loaded."""
    STOP_REQUESTED = b"l"
    """The worker got a signal to stop, and not from its supervisor."""
    DRAINED = b"d"
    """No stream is left."""


IMPLIED_COMMANDS = {
    WorkerCommand.RETIRE: (WorkerCommand.DRAIN,),
    WorkerCommand.STOP: (WorkerCommand.ACCEPT, WorkerCommand.DRAIN),
}


class Commands(ABC):
    """The commands that this process has received. No command is ever withdrawn."""

    def __init__(self) -> None:
        self._received = {command: asyncio.Event() for command in WorkerCommand}

    @abstractmethod
    def attach(self, loop: AbstractEventLoop) -> None:
        """Receive commands in this event loop from now on."""

    def report(self, report: Report) -> None:  # noqa: B027 - a lone process has no supervisor
        """Send a report to the supervisor, if there is one."""

    def receive(self, command: WorkerCommand) -> None:
        for received in (command, *IMPLIED_COMMANDS.get(command, ())):
            self._received[received].set()

    def has_received(self, command: WorkerCommand) -> bool:
        return self._received[command].is_set()

    async def wait(self, command: WorkerCommand) -> None:
        await self._received[command].wait()


class SignalCommands(Commands):
    """The commands of a process without a supervisor.

    It accepts connections at once, and Ctrl-C or SIGTERM stops it at once.
    """

    def attach(self, loop: AbstractEventLoop) -> None:
        # As handlers of the loop: an exception raised by a Python signal handler would be lost
        # wherever Twisted catches all exceptions.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.receive, WorkerCommand.STOP)
        self.receive(WorkerCommand.ACCEPT)


class SupervisorCommands(Commands):
    """The commands of a worker, which its supervisor sends over standard input."""

    def __init__(self) -> None:
        super().__init__()
        self._socket = socket.socket(fileno=os.dup(0))
        self._socket.setblocking(False)

    def attach(self, loop: AbstractEventLoop) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.report, Report.STOP_REQUESTED)
        loop.add_reader(self._socket.fileno(), self._read_commands, loop)

    def report(self, report: Report) -> None:
        with suppress(OSError):  # the supervisor is gone, which the reader notices soon
            self._socket.send(report.value)

    def _read_commands(self, loop: AbstractEventLoop) -> None:
        try:
            data = self._socket.recv(64)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        for byte in data:
            self.receive(WorkerCommand(bytes([byte])))
        if not data:
            loop.remove_reader(self._socket.fileno())
            self.receive(WorkerCommand.STOP)

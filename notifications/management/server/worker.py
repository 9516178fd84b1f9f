"""A worker process as its supervisor sees it: a subprocess, and the socket pair between the two."""

import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum

from notifications.management.server.messages import Command, Report
from notifications.telemetry.snapshots import Snapshots

START_TIMEOUT_SECONDS = 60.0


class WorkerState(Enum):
    """docs/extend.md has the diagram."""

    SERVING = "serving"
    """It serves the socket, or will as soon as it has started."""
    STANDBY = "standby"
    """It loads its window, and then takes the socket over from the worker that serves."""
    RETIRING = "retiring"
    """It was replaced: it drains and exits."""


class Worker:
    """Runs this same command once more, with the descriptors of what it is to use.

    The subprocess has its own process group, so that the terminal's Ctrl-C reaches it only through
    the supervisor.
    """

    def __init__(
        self,
        state: WorkerState,
        listeners: Sequence[socket.socket],
        snapshots: Snapshots | None,
    ) -> None:
        self.state = state
        self.started_at = time.monotonic()
        self.deadline = self.started_at + START_TIMEOUT_SECONDS
        """Until when a worker on standby may start, or one that retires may live."""
        self.reports: set[Report] = set()
        self.control, worker_end = socket.socketpair()
        self.control.setblocking(False)
        descriptors = [listener.fileno() for listener in listeners]
        options = [f"--fd={descriptor}" for descriptor in descriptors]
        if snapshots is not None:
            self.region = snapshots.allocate()
            options.append(f"--snapshots={snapshots.descriptor}:{self.region}")
            descriptors.append(snapshots.descriptor)
        with worker_end:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, *sys.orig_argv[1:], "--skip-checks", *options],
                stdin=worker_end.fileno(),
                pass_fds=descriptors,
                process_group=0,
            )

    @property
    def has_exited(self) -> bool:
        return self.process.poll() is not None

    def read_reports(self) -> None:
        """Read the reports that have arrived. Closes the socket when no more can arrive."""
        while self.control.fileno() >= 0:
            try:
                data = self.control.recv(64)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self.reports.update(Report(bytes([byte])) for byte in data)
            if not data:
                self.control.close()

    def send(self, command: Command) -> None:
        with suppress(OSError):  # the process is dead, as its status shows
            self.control.send(command.value)

    def drain(self) -> None:
        """End the worker's streams. A worker that is still starting has none, and is terminated."""
        if Report.STARTED in self.reports:
            self.send(Command.DRAIN)
        else:
            self.process.terminate()
            self.send(Command.STOP)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.control.close()

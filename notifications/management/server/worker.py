"""A worker process as its supervisor sees it: a subprocess, and the socket pair between the two."""

import socket
import subprocess
import sys
import time
from contextlib import suppress

from notifications.management.server.ipc import Report, WorkerCommand


class Worker:
    """Runs this same command once more, with the descriptor of the socket to serve.

    The subprocess has its own process group, so that the terminal's Ctrl-C reaches it only through
    the supervisor.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.control, worker_end = socket.socketpair()
        self.control.setblocking(False)
        self.started_at = time.monotonic()
        self._reports: set[Report] = set()
        worker_options = ["--skip-checks", "--fd", str(listener.fileno())]
        with worker_end:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, *sys.orig_argv[1:], *worker_options],
                stdin=worker_end.fileno(),
                pass_fds=[listener.fileno()],
                process_group=0,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while the process runs."""
        return self._process.poll()

    def read_reports(self) -> None:
        """Read the reports that have arrived. Closes the socket when no more can arrive."""
        while self.control.fileno() >= 0:
            try:
                data = self.control.recv(64)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self._reports.update(Report(bytes([byte])) for byte in data)
            if not data:
                self.control.close()

    def has_reported(self, report: Report) -> bool:
        return report in self._reports

    def discard_report(self, report: Report) -> None:
        self._reports.discard(report)

    def send(self, command: WorkerCommand) -> None:
        with suppress(OSError):  # the process is dead, as its status shows
            self.control.send(command.value)

    def drain(self) -> None:
        """End the worker's streams. A worker that is still starting has none, and is terminated."""
        if self.has_reported(Report.STARTED):
            self.send(WorkerCommand.DRAIN)
        else:
            self._process.terminate()
            self.send(WorkerCommand.STOP)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self.control.close()

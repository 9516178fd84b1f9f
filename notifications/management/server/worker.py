"""A worker, as its master sees it: a process, and a line to it."""

import socket
import subprocess
import sys
import time
from contextlib import suppress

from notifications.management.server.ipc import Order, Report


class Worker:
    """This same command once more, told which socket to serve.

    It has a process group of its own: the terminal's Ctrl-C reaches it through the master alone.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.line, theirs = socket.socketpair()
        self.line.setblocking(False)
        self.started = time.monotonic()
        self._reports: set[Report] = set()
        as_worker = ["--skip-checks", "--fd", str(listener.fileno())]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, *sys.orig_argv[1:], *as_worker],
                stdin=theirs.fileno(),
                pass_fds=[listener.fileno()],
                process_group=0,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def hear(self) -> None:
        """Take what it reports. Where nothing more can come, the line closes."""
        while self.line.fileno() >= 0:
            try:
                heard = self.line.recv(64)
            except BlockingIOError:
                return
            except OSError:
                heard = b""
            self._reports.update(Report(bytes([byte])) for byte in heard)
            if not heard:
                self.line.close()

    def has(self, report: Report) -> bool:
        return report in self._reports

    def forget(self, report: Report) -> None:
        self._reports.discard(report)

    def order(self, order: Order) -> None:
        with suppress(OSError):  # it is dead, as its status says
            self.line.send(order.value)

    def drain(self) -> None:
        """One that only boots has nobody to tell, and need not boot to the end."""
        if self.has(Report.BOOTED):
            self.order(Order.DRAIN)
        else:
            self._process.terminate()
            self.order(Order.FINISH)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self.line.close()

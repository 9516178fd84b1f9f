"""The parent of several serving processes, each with a listening socket of its own.

The sockets stay the master's, so that what waits in the queue of one whose worker died is served
by the next worker and not reset.
"""

import logging
import os
import socket
import subprocess
import sys
import time

logger = logging.getLogger("carillon")

POLL = 0.1
STEADY = 10.0  # a worker that lived this long is replaced at once
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
PATIENCE = 15.0


def run(listeners: list[socket.socket]) -> None:
    """Keeps a worker on each socket, until an exception (Ctrl-C, SIGTERM) ends them all."""
    # Nothing is ever written: that it closes tells the workers that the master is gone.
    lifeline, held = os.pipe()
    workers = [_Worker(listener.fileno(), lifeline) for listener in listeners]
    try:
        while True:
            for worker in workers:
                worker.tend()
            time.sleep(POLL)
    finally:
        for worker in workers:
            worker.end()
        deadline = time.monotonic() + PATIENCE
        for worker in workers:
            worker.wait(deadline)
        os.close(held)
        os.close(lifeline)


class _Worker:
    """This same command once more, told which socket to serve.

    It has a process group of its own: the terminal's Ctrl-C reaches it through the master alone.
    """

    def __init__(self, fd: int, lifeline: int) -> None:
        self._fd = fd
        self._lifeline = lifeline
        self._pause = 0.0
        self._start()

    def _start(self) -> None:
        self._due: float | None = None
        self._started = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, *sys.orig_argv[1:], "--fd", str(self._fd)],
            stdin=self._lifeline,
            pass_fds=[self._fd],
            process_group=0,
        )

    def tend(self) -> None:
        """Replaces it if it died: the sooner it died, the later."""
        now = time.monotonic()
        if self._due is None and self._process.poll() is not None:
            early = now - self._started < STEADY
            self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE) if early else 0.0
            self._due = now + self._pause
            logger.warning(
                "worker.died pid=%d status=%d restart_in=%.1f",
                self._process.pid,
                self._process.returncode,
                self._pause,
            )
        if self._due is not None and now >= self._due:
            self._start()

    def end(self) -> None:
        self._process.terminate()

    def wait(self, deadline: float) -> None:
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

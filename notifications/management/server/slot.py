"""A listening socket, and who serves it: a worker, for a while two, and those that still drain.

The socket is the master's. So what waits in its queue when a worker dies, or stops, is served by
the next worker, where it would be reset if the socket closed with its worker.
"""

import logging
import socket

from notifications.conf import get_settings
from notifications.management.server.ipc import Order, Report
from notifications.management.server.worker import Worker

logger = logging.getLogger("carillon")

STEADY = 10.0  # a worker that dies when the one before had lived this long is replaced at once
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
LONGEST_START = 60.0
LONGEST_END = 15.0  # after its drain


class CannotStart(Exception):
    """A worker ended before any had started: so would the next."""


class Slot:
    def __init__(self, listener: socket.socket, now: float) -> None:
        self._listener = listener
        self._next: Worker | None = None
        self._leaving: dict[Worker, float] = {}
        self.booted = False
        self._pause = 0.0
        self._due = now
        self._current: Worker | None = self._begun()

    @property
    def workers(self) -> list[Worker]:
        serving = [worker for worker in (self._current, self._next) if worker is not None]
        return [*serving, *self._leaving]

    @property
    def changing(self) -> bool:
        """Whether a worker is being replaced."""
        return self._next is not None or bool(self._leaving)

    @property
    def drained(self) -> bool:
        """Whether its worker has no streams any more. An old one that still has some is no matter:
        it takes no connections."""
        return self._current is None or self._current.has(Report.DRAINED)

    def replace(self) -> None:
        """Start another worker. When it is ready it takes over, and the old one ends."""
        if self._current is not None and self._next is None:
            self._next = Worker(self._listener)

    def hear(self) -> None:
        """Take what its workers report."""
        for worker in self.workers:
            worker.hear()
        self.booted = self.booted or (
            self._current is not None and self._current.has(Report.BOOTED)
        )

    def tend(self, now: float, *, proven: bool) -> None:
        """Replace who ended. Raises `CannotStart` unless it is proven that a worker can start."""
        for worker, limit in list(self._leaving.items()):
            if worker.status is not None or now > limit:
                worker.kill()
                del self._leaving[worker]
        if self._next is not None:
            self._tend_next(self._next, now)
        if self._current is not None:
            self._tend_current(self._current, now, proven=proven)
        elif now >= self._due:
            self._current = self._begun()

    def drain(self) -> None:
        """Have it end: its streams are told, and who connects is served until `finish`."""
        if self._next is not None:
            self._next.kill()
            self._next = None
        if self._current is not None:
            self._current.drain()

    def finish(self) -> None:
        """Nobody can connect any more."""
        if self._current is not None:
            self._current.order(Order.FINISH)

    def reap(self) -> None:
        """Hear who reports, and forget who has ended, with nobody in their place."""
        self.hear()
        for worker in self.workers:
            if worker.status is not None:
                self._forget(worker)

    def kill(self) -> None:
        for worker in self.workers:
            worker.kill()
            self._forget(worker)

    def _forget(self, worker: Worker) -> None:
        worker.line.close()
        self._leaving.pop(worker, None)
        if worker is self._current:
            self._current = None
        if worker is self._next:
            self._next = None

    def _begun(self) -> Worker:
        worker = Worker(self._listener)
        worker.order(Order.ACCEPT)
        return worker

    def _tend_next(self, worker: Worker, now: float) -> None:
        late = now > worker.started + LONGEST_START
        if worker.status is None and worker.has(Report.READY):
            self._take_over(worker, now)
        elif worker.status is not None or late:
            logger.error("restart.failed pid=%d why=%s", worker.pid, "slow" if late else "it ended")
            worker.kill()
            self._next = None

    def _take_over(self, worker: Worker, now: float) -> None:
        worker.order(Order.ACCEPT)
        old, self._current, self._next = self._current, worker, None
        if old is not None:
            old.order(Order.RETIRE)
            self._leaving[old] = now + get_settings().DRAIN_SECONDS + LONGEST_END
            logger.info("worker.replaced pid=%d by=%d", old.pid, worker.pid)

    def _tend_current(self, worker: Worker, now: float, *, proven: bool) -> None:
        if worker.status is None:
            if worker.has(Report.LEAVING):
                worker.forget(Report.LEAVING)
                self.replace()
            return
        self.hear()  # its last words
        if not (proven or self.booted):
            raise CannotStart
        worker.line.close()
        self._current = None
        if self._next is not None:
            self._take_over(self._next, now)
            return
        early = now - worker.started < STEADY
        self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE) if early else 0.0
        self._due = now + self._pause
        logger.warning(
            "worker.died pid=%d status=%d restart_in=%.1f", worker.pid, worker.status, self._pause
        )

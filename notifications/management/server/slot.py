"""A listening socket and the workers that serve it.

One worker serves the socket. While it is being replaced there are two, and replaced workers that
still drain their streams stay on the list until they exit.

The supervisor owns the socket. So a connection that waits in the socket's queue when a worker dies
or stops is served by the next worker. If the socket closed with its worker, it would be reset.
"""

import logging
import socket

from notifications.conf import get_settings
from notifications.management.server.ipc import Report, WorkerCommand
from notifications.management.server.worker import Worker

logger = logging.getLogger("carillon")

STABLE_SECONDS = 10.0
"""A worker that lived at least this long is replaced at once when it dies."""
FIRST_RESTART_PAUSE_SECONDS = 0.5
MAX_RESTART_PAUSE_SECONDS = 30.0
START_TIMEOUT_SECONDS = 60.0
DRAIN_GRACE_SECONDS = 3.0
"""How long a drain may take beyond `DRAIN_SECONDS`."""
EXIT_GRACE_SECONDS = 12.0
"""How long a worker may take to exit after its drain."""
RETIRE_GRACE_SECONDS = DRAIN_GRACE_SECONDS + EXIT_GRACE_SECONDS


class CannotStart(Exception):
    """A worker exited before any worker had started: the next worker would exit too."""


class Slot:
    def __init__(self, listener: socket.socket, now: float) -> None:
        self._listener = listener
        self._replacement: Worker | None = None
        self._retiring: dict[Worker, float] = {}
        """Replaced workers, with the time at which each is killed."""
        self.has_started = False
        self._restart_pause = 0.0
        self._restart_at = now
        self._current: Worker | None = self._start_worker()

    @property
    def workers(self) -> list[Worker]:
        serving = [worker for worker in (self._current, self._replacement) if worker is not None]
        return [*serving, *self._retiring]

    @property
    def is_replacing(self) -> bool:
        return self._replacement is not None or bool(self._retiring)

    @property
    def is_drained(self) -> bool:
        """Whether the current worker has no streams any more.

        Retiring workers do not count: they accept no connections.
        """
        return self._current is None or self._current.has_reported(Report.DRAINED)

    def replace(self) -> None:
        """Start another worker. When it is ready it takes over, and the old worker retires."""
        if self._current is not None and self._replacement is None:
            self._replacement = Worker(self._listener)

    def read_reports(self) -> None:
        for worker in self.workers:
            worker.read_reports()
        self.has_started = self.has_started or (
            self._current is not None and self._current.has_reported(Report.STARTED)
        )

    def supervise(self, now: float, *, can_start: bool) -> None:
        """Replace workers that exited.

        `can_start` says that some worker has started before. Raises `CannotStart` if none has.
        """
        for worker, kill_at in list(self._retiring.items()):
            if worker.status is not None or now > kill_at:
                worker.kill()
                del self._retiring[worker]
        if self._replacement is not None:
            self._supervise_replacement(self._replacement, now)
        if self._current is not None:
            self._supervise_current(self._current, now, can_start=can_start)
        elif now >= self._restart_at:
            self._current = self._start_worker()

    def drain(self) -> None:
        """End the worker's streams. It goes on serving new connections until `stop`."""
        if self._replacement is not None:
            self._replacement.kill()
            self._replacement = None
        if self._current is not None:
            self._current.drain()

    def stop(self) -> None:
        """Stop the worker; the port has been closed to new connections."""
        if self._current is not None:
            self._current.send(WorkerCommand.STOP)

    def reap(self) -> None:
        """Read the last reports of workers that exited, and start no others in their place."""
        self.read_reports()
        for worker in self.workers:
            if worker.status is not None:
                self._forget(worker)

    def kill(self) -> None:
        for worker in self.workers:
            worker.kill()
            self._forget(worker)

    def _forget(self, worker: Worker) -> None:
        worker.control.close()
        self._retiring.pop(worker, None)
        if worker is self._current:
            self._current = None
        if worker is self._replacement:
            self._replacement = None

    def _start_worker(self) -> Worker:
        worker = Worker(self._listener)
        worker.send(WorkerCommand.ACCEPT)
        return worker

    def _supervise_replacement(self, worker: Worker, now: float) -> None:
        is_late = now > worker.started_at + START_TIMEOUT_SECONDS
        if worker.status is None and worker.has_reported(Report.READY):
            self._take_over(worker, now)
        elif worker.status is not None or is_late:
            why = "slow" if is_late else "it ended"
            logger.error("restart.failed pid=%d why=%s", worker.pid, why)
            worker.kill()
            self._replacement = None

    def _take_over(self, worker: Worker, now: float) -> None:
        worker.send(WorkerCommand.ACCEPT)
        old, self._current, self._replacement = self._current, worker, None
        if old is not None:
            old.send(WorkerCommand.RETIRE)
            self._retiring[old] = now + get_settings().DRAIN_SECONDS + RETIRE_GRACE_SECONDS
            logger.info("worker.replaced pid=%d by=%d", old.pid, worker.pid)

    def _supervise_current(self, worker: Worker, now: float, *, can_start: bool) -> None:
        if worker.status is None:
            if worker.has_reported(Report.STOP_REQUESTED):
                worker.discard_report(Report.STOP_REQUESTED)
                self.replace()
            return
        self.read_reports()  # what the worker reported just before it exited
        if not (can_start or self.has_started):
            raise CannotStart
        worker.control.close()
        self._current = None
        if self._replacement is not None:
            self._take_over(self._replacement, now)
            return
        pause = 0.0
        if now - worker.started_at < STABLE_SECONDS:
            pause = max(FIRST_RESTART_PAUSE_SECONDS, 2 * self._restart_pause)
        self._restart_pause = min(pause, MAX_RESTART_PAUSE_SECONDS)
        self._restart_at = now + self._restart_pause
        logger.warning(
            "worker.died pid=%d status=%d restart_in=%.1f",
            *(worker.pid, worker.status, self._restart_pause),
        )

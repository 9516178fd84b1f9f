"""A share of the port, and the workers that serve it: one, and two while one replaces the other.

A share is a listening socket for each address. The supervisor owns the sockets. So a connection
that waits in a socket's queue when a worker dies or stops is served by the next worker. If the
socket closed with its worker, the connection would be reset.
"""

import socket
from collections.abc import Sequence

from notifications.conf import get_settings
from notifications.hub.metrics_exporter import forget_process
from notifications.management.server.messages import Command, Report
from notifications.management.server.worker import Worker, WorkerState
from notifications.telemetry.logs import logger
from notifications.telemetry.snapshots import Snapshots

STABLE_SECONDS = 10.0
"""A worker that lived at least this long is replaced at once when it dies."""
FIRST_RESTART_PAUSE_SECONDS = 0.5
MAX_RESTART_PAUSE_SECONDS = 30.0
DRAIN_GRACE_SECONDS = 3.0
"""How long a drain may take beyond `DRAIN_SECONDS`."""
EXIT_GRACE_SECONDS = 12.0
"""How long a worker may take to exit after its drain."""
RETIRE_GRACE_SECONDS = DRAIN_GRACE_SECONDS + EXIT_GRACE_SECONDS


class CannotStart(Exception):
    """A worker exited before any worker had started: the next worker would exit too."""


class Slot:
    def __init__(self, listeners: Sequence[socket.socket], snapshots: Snapshots | None) -> None:
        self.listeners = listeners
        self.workers: list[Worker] = []
        self.has_started = False
        self._snapshots = snapshots
        self._restart_pause = 0.0
        self._restart_at = 0.0

    @property
    def is_replacing(self) -> bool:
        return any(worker.state is not WorkerState.SERVING for worker in self.workers)

    @property
    def is_settled(self) -> bool:
        """Whether its worker serves, and the next change wakes whoever waits for its reports."""
        states = [worker.state for worker in self.workers]
        return states == [WorkerState.SERVING] and self.workers[0].control.fileno() >= 0

    @property
    def is_drained(self) -> bool:
        """Whether the serving worker has no streams any more: the others accept no connections."""
        serving = self._worker(WorkerState.SERVING)
        return serving is None or Report.DRAINED in serving.reports

    def read_reports(self) -> None:
        for worker in self.workers:
            worker.read_reports()
            self.has_started = self.has_started or Report.STARTED in worker.reports

    def supervise(self, now: float, *, can_start: bool) -> bool:
        """Let each worker go on to its next state. Returns False if a replacement failed.

        `can_start` says that some worker has started before. Raises `CannotStart` if none has.
        """
        is_sound = True
        for worker in list(self.workers):
            is_over = worker.has_exited or now > worker.deadline
            match worker.state:
                case WorkerState.RETIRING if is_over:
                    self._remove(worker)
                case WorkerState.STANDBY if is_over:
                    self._give_up(worker)
                    is_sound = False
                case WorkerState.STANDBY if Report.READY in worker.reports:
                    self._take_over(worker, now)
                case WorkerState.SERVING if worker.has_exited:
                    self._bury(worker, now, can_start=can_start)
                case WorkerState.SERVING if Report.STOP_REQUESTED in worker.reports:
                    worker.reports.remove(Report.STOP_REQUESTED)
                    self.replace()
        if self._worker(WorkerState.SERVING) is None and now >= self._restart_at:
            self._start(WorkerState.SERVING).send(Command.ACCEPT)
        return is_sound

    def replace(self) -> None:
        """Start another worker. When it is ready it takes over, and the old worker retires."""
        if self._worker(WorkerState.SERVING) and not self._worker(WorkerState.STANDBY):
            self._start(WorkerState.STANDBY)

    def drain(self) -> None:
        """End the worker's streams. It goes on serving new connections until `stop`."""
        if standby := self._worker(WorkerState.STANDBY):
            self._remove(standby)
        if serving := self._worker(WorkerState.SERVING):
            serving.drain()

    def stop(self) -> None:
        """Stop the worker; the port has been closed to new connections."""
        if serving := self._worker(WorkerState.SERVING):
            serving.send(Command.STOP)

    def reap(self) -> None:
        """Remove the workers that exited, and start no others in their place."""
        for worker in list(self.workers):
            if worker.has_exited:
                self._remove(worker)

    def kill(self) -> None:
        for worker in list(self.workers):
            self._remove(worker)

    def _worker(self, state: WorkerState) -> Worker | None:
        return next((worker for worker in self.workers if worker.state is state), None)

    def _start(self, state: WorkerState) -> Worker:
        worker = Worker(state, self.listeners, self._snapshots)
        self.workers.append(worker)
        return worker

    def _remove(self, worker: Worker) -> None:
        worker.kill()
        self.workers.remove(worker)
        if self._snapshots:
            self._snapshots.retire(worker.region)
        forget_process(worker.process.pid)

    def _give_up(self, worker: Worker) -> None:
        why = "it ended" if worker.has_exited else "slow"
        self._remove(worker)
        pid = worker.process.pid
        logger.error("restart.failed", pid=pid, why=why, hint="the old workers serve on")

    def _take_over(self, worker: Worker, now: float) -> None:
        old = self._worker(WorkerState.SERVING)
        worker.state = WorkerState.SERVING
        worker.send(Command.ACCEPT)
        if old is not None:
            old.state = WorkerState.RETIRING
            old.deadline = now + get_settings().DRAIN_SECONDS + RETIRE_GRACE_SECONDS
            old.send(Command.RETIRE)
            logger.info("worker.replaced", pid=old.process.pid, by=worker.process.pid)

    def _bury(self, worker: Worker, now: float, *, can_start: bool) -> None:
        """The serving worker died: its replacement takes over, or another starts after a pause."""
        self.read_reports()  # what the worker reported just before it exited
        self._remove(worker)
        if not (can_start or self.has_started):
            raise CannotStart
        pause = 0.0
        if standby := self._worker(WorkerState.STANDBY):
            self._take_over(standby, now)
        elif now - worker.started_at < STABLE_SECONDS:
            pause = max(FIRST_RESTART_PAUSE_SECONDS, 2 * self._restart_pause)
        pause = min(pause, MAX_RESTART_PAUSE_SECONDS)
        self._restart_pause, self._restart_at = pause, now + pause
        pid, status = worker.process.pid, worker.process.returncode
        logger.warning("worker.died", pid=pid, status=status, restart_in=pause)

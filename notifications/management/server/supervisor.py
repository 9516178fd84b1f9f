"""The parent of the worker processes: it owns the listening sockets, and serves no requests.

SIGTERM and Ctrl-C drain and stop all workers; a second such signal kills them. SIGHUP replaces the
workers, one after another. docs/extend.md has the diagram of all states and messages.
"""

import os
import signal
import socket
import time
from collections import deque
from enum import Enum
from multiprocessing.connection import wait

from notifications.conf import get_settings
from notifications.management.kernel import drop_handshakes
from notifications.management.server.slot import DRAIN_GRACE_SECONDS, EXIT_GRACE_SECONDS, Slot
from notifications.telemetry.logs import logger
from notifications.telemetry.snapshots import Snapshots

POLL_SECONDS, SETTLED_POLL_SECONDS = 0.25, 1.0
"""While all workers serve, what changes wakes the supervisor; it looks for a worker that exited and
whose children keep its socket open."""


class SupervisorState(Enum):
    """docs/extend.md has the diagram."""

    SERVING = "serving"
    DRAINING = "draining"
    """The streams end, and new connections are still served."""
    STOPPING = "stopping"
    """The port is closed to new connections. The workers serve those that wait, and exit."""
    ENDED = "ended"


class Supervisor:
    def __init__(self, shares: list[list[socket.socket]], snapshots: Snapshots | None) -> None:
        self._state = SupervisorState.SERVING
        self._state_ends_at = float("inf")  # at the latest
        self._slots = [Slot(listeners, snapshots) for listeners in shares]
        self._to_replace: deque[Slot] = deque()
        self._stop_signals: list[int] = []
        self._has_terminal = os.isatty(0)

    def run(self) -> None:
        """Serve until a signal. Raises `CannotStart`, and `SystemExit` at a second signal."""
        signals = self._handle_signals()
        try:
            while self._state is not SupervisorState.ENDED:
                self._advance(time.monotonic())
                self._wait(signals)
        finally:
            for slot in self._slots:
                slot.kill()

    def _advance(self, now: float) -> None:
        """Do what this state is for, and go on to the next state when this one is over."""
        for slot in self._slots:
            slot.read_reports()
        if self._state is SupervisorState.SERVING and not self._stop_signals:
            self._supervise(now)
            return
        for slot in self._slots:
            slot.reap()
        is_late = now >= self._state_ends_at
        are_drained = all(slot.is_drained for slot in self._slots)
        match self._state:
            case SupervisorState.SERVING:
                self._drain(now)
            case SupervisorState.DRAINING if is_late or are_drained:
                self._stop(now)
            case SupervisorState.STOPPING if not any(slot.workers for slot in self._slots):
                self._state = SupervisorState.ENDED
            case SupervisorState.STOPPING if is_late:
                logger.warning("serve.cut", hint="a worker did not end")
                self._state = SupervisorState.ENDED

    def _supervise(self, now: float) -> None:
        can_start = any(slot.has_started for slot in self._slots)
        are_sound = [slot.supervise(now, can_start=can_start) for slot in self._slots]
        if not all(are_sound):
            self._to_replace.clear()  # the same code would fail again
        if self._to_replace and not any(slot.is_replacing for slot in self._slots):
            self._to_replace.popleft().replace()

    def _drain(self, now: float) -> None:
        seconds = get_settings().DRAIN_SECONDS
        logger.info("serve.ending", seconds=seconds, hint="a second signal ends it at once")
        longest = seconds + DRAIN_GRACE_SECONDS
        for slot in self._slots:
            slot.drain()
        self._state, self._state_ends_at = SupervisorState.DRAINING, now + longest

    def _stop(self, now: float) -> None:
        for slot in self._slots:
            for listener in slot.listeners:
                drop_handshakes(listener)
            slot.stop()
        self._state, self._state_ends_at = SupervisorState.STOPPING, now + EXIT_GRACE_SECONDS

    def _handle_signals(self) -> socket.socket:
        """Handle signals from now on. Returns a socket that is readable after a signal."""
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_hangup)
        return reader

    def _on_stop(self, number: int, _: object) -> None:
        self._stop_signals.append(number)

    def _on_hangup(self, number: int, _: object) -> None:
        if self._has_terminal and not os.isatty(0):
            self._stop_signals.append(number)  # the terminal was closed
        else:
            self._to_replace.extend(self._slots)

    def _wait(self, signals: socket.socket) -> None:
        """Wait for a worker's report or exit, a signal, the end of the state, or a moment."""
        workers = [worker for slot in self._slots for worker in slot.workers]
        controls = [worker.control for worker in workers if worker.control.fileno() >= 0]
        is_settled = all(slot.is_settled for slot in self._slots)
        poll = SETTLED_POLL_SECONDS if is_settled else POLL_SECONDS
        seconds = min(poll, max(0.0, self._state_ends_at - time.monotonic()))
        if signals in wait([signals, *controls], seconds):
            signals.recv(64)
        if len(self._stop_signals) > 1:
            logger.warning("serve.cut", hint="a second signal came")
            raise SystemExit(128 + self._stop_signals[-1])

"""The parent of the worker processes: it owns the listening sockets, and serves no requests.

SIGTERM and Ctrl-C drain and stop all workers; a second such signal kills them. SIGHUP replaces the
workers, one after another.
"""

import logging
import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from notifications.conf import get_settings
from notifications.management.server.listener import drop_handshakes
from notifications.management.server.metrics_dir import MarkAlive
from notifications.management.server.slot import DRAIN_GRACE_SECONDS, EXIT_GRACE_SECONDS, Slot

logger = logging.getLogger("carillon")

POLL_SECONDS = 0.25
HANDSHAKE_SECONDS = 0.1
"""For handshakes that were under way when the port closed to new connections: they complete."""


class Supervisor:
    def __init__(self, listeners: list[socket.socket], mark_alive: MarkAlive) -> None:
        self._mark_alive = mark_alive
        self._listeners = listeners
        self._slots: list[Slot] = []
        self._to_replace: deque[Slot] = deque()
        self._stop_signals: list[int] = []
        self._has_terminal = os.isatty(0)

    def run(self) -> None:
        """Serve until a signal. Raises `CannotStart`, and `SystemExit` at a second signal."""
        with self._signals() as signal_pipe:
            try:
                self._slots = [Slot(listener, time.monotonic()) for listener in self._listeners]
                while not self._stop_signals:
                    self._wait(signal_pipe)
                    self._supervise(time.monotonic())
                    self._replace_one_by_one()
                    self._mark_alive(
                        [worker.pid for slot in self._slots for worker in slot.workers]
                    )
                self._stop(signal_pipe)
            finally:
                for slot in self._slots:
                    slot.kill()

    @contextmanager
    def _signals(self) -> Iterator[int]:
        """Handle signals in the block. Yields a descriptor that is readable after a signal."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        handlers = {signal.SIGTERM: self._on_stop, signal.SIGINT: self._on_stop}
        handlers[signal.SIGHUP] = self._on_hangup
        old_handlers = {
            number: signal.signal(number, handler) for number, handler in handlers.items()
        }
        old_wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(old_wakeup)
            for number, handler in old_handlers.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)

    def _on_stop(self, number: int, _: object) -> None:
        self._stop_signals.append(number)

    def _on_hangup(self, number: int, _: object) -> None:
        if self._has_terminal and not os.isatty(0):
            self._stop_signals.append(number)  # the terminal was closed
        else:
            self._to_replace.extend(self._slots)

    def _wait(self, signal_pipe: int, max_seconds: float = POLL_SECONDS) -> None:
        """Wait for a worker's report or exit, a signal, or the end of `max_seconds`."""
        poll = select.poll()
        poll.register(signal_pipe, select.POLLIN)
        for slot in self._slots:
            for worker in slot.workers:
                if worker.control.fileno() >= 0:
                    poll.register(worker.control, select.POLLIN)
        for descriptor, _ in poll.poll(max_seconds * 1000):
            if descriptor == signal_pipe:
                os.read(signal_pipe, 64)
        if len(self._stop_signals) > 1:
            logger.warning("serve.cut: a second signal came")
            raise SystemExit(128 + self._stop_signals[-1])

    def _supervise(self, now: float) -> None:
        for slot in self._slots:
            slot.read_reports()
        can_start = any(slot.has_started for slot in self._slots)
        for slot in self._slots:
            slot.supervise(now, can_start=can_start)

    def _replace_one_by_one(self) -> None:
        if self._to_replace and not any(slot.is_replacing for slot in self._slots):
            self._to_replace.popleft().replace()

    def _stop(self, signal_pipe: int) -> None:
        seconds = get_settings().DRAIN_SECONDS
        logger.info("serve.ending seconds=%g: a second signal ends it at once", seconds)
        for slot in self._slots:
            slot.drain()
        self._wait_until(self._all_drained, signal_pipe, seconds + DRAIN_GRACE_SECONDS)
        for listener in self._listeners:
            drop_handshakes(listener)
        self._wait_until(lambda: False, signal_pipe, HANDSHAKE_SECONDS)
        for slot in self._slots:
            slot.stop()
        if not self._wait_until(self._all_exited, signal_pipe, EXIT_GRACE_SECONDS):
            logger.warning("serve.cut: a worker did not end")

    def _all_drained(self) -> bool:
        return all(slot.is_drained for slot in self._slots)

    def _all_exited(self) -> bool:
        return not any(slot.workers for slot in self._slots)

    def _wait_until(
        self, condition: Callable[[], bool], signal_pipe: int, max_seconds: float
    ) -> bool:
        deadline = time.monotonic() + max_seconds
        while True:
            for slot in self._slots:
                slot.reap()
            if condition():
                return True
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            self._wait(signal_pipe, min(remaining, POLL_SECONDS))

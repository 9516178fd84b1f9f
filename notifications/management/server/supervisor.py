"""The parent of the serving processes: it owns the listening sockets, and serves nobody.

SIGTERM and Ctrl-C end the whole in good order, a second one at once; SIGHUP replaces the workers,
one after another.
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
from notifications.management.server.listener import shut
from notifications.management.server.metrics_dir import Tend
from notifications.management.server.slot import CannotStart, Slot

logger = logging.getLogger("carillon")

POLL = 0.25
HANDSHAKES = 0.1
"""Whoever is half connected when the port shuts is let in."""
LONGEST_DRAIN = 3.0  # more than the drain itself
LONGEST_END = 12.0

__all__ = ["CannotStart", "Master"]


class Master:
    def __init__(self, listeners: list[socket.socket], tend: Tend) -> None:
        self._tend_scoreboard = tend
        self._listeners = listeners
        self._slots: list[Slot] = []
        self._to_replace: deque[Slot] = deque()
        self._told_to_end: list[int] = []
        self._terminal = os.isatty(0)

    def run(self) -> None:
        """Until a signal ends it. Raises `CannotStart`, and `SystemExit` at a second signal."""
        with self._signals() as woken:
            try:
                self._slots = [Slot(listener, time.monotonic()) for listener in self._listeners]
                while not self._told_to_end:
                    self._wait(woken)
                    self._tend(time.monotonic())
                    self._replace_one_by_one()
                    self._tend_scoreboard(
                        [each.pid for slot in self._slots for each in slot.workers]
                    )
                self._end(woken)
            finally:
                for slot in self._slots:
                    slot.kill()

    @contextmanager
    def _signals(self) -> Iterator[int]:
        """A descriptor that can be read when one came."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        handlers = {signal.SIGTERM: self._on_end, signal.SIGINT: self._on_end}
        handlers[signal.SIGHUP] = self._on_hangup
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        woken_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(woken_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)

    def _on_end(self, number: int, _: object) -> None:
        self._told_to_end.append(number)

    def _on_hangup(self, number: int, _: object) -> None:
        if self._terminal and not os.isatty(0):
            self._told_to_end.append(number)  # it was the terminal that went away
        else:
            self._to_replace.extend(self._slots)

    def _wait(self, woken: int, longest: float = POLL) -> None:
        """For a report, a death, a signal, or a moment."""
        poll = select.poll()
        poll.register(woken, select.POLLIN)
        for slot in self._slots:
            for worker in slot.workers:
                if worker.line.fileno() >= 0:
                    poll.register(worker.line, select.POLLIN)
        for descriptor, _ in poll.poll(longest * 1000):
            if descriptor == woken:
                os.read(woken, 64)
        if len(self._told_to_end) > 1:
            logger.warning("serve.cut: told twice")
            raise SystemExit(128 + self._told_to_end[-1])

    def _tend(self, now: float) -> None:
        for slot in self._slots:
            slot.hear()
        proven = any(slot.booted for slot in self._slots)
        for slot in self._slots:
            slot.tend(now, proven=proven)

    def _replace_one_by_one(self) -> None:
        if self._to_replace and not any(slot.changing for slot in self._slots):
            self._to_replace.popleft().replace()

    def _end(self, woken: int) -> None:
        seconds = get_settings().DRAIN_SECONDS
        logger.info("serve.ending seconds=%g: a second signal ends it at once", seconds)
        for slot in self._slots:
            slot.drain()
        self._until(self._drained, woken, seconds + LONGEST_DRAIN)
        for listener in self._listeners:
            shut(listener)
        self._until(lambda: False, woken, HANDSHAKES)
        for slot in self._slots:
            slot.finish()
        if not self._until(self._ended, woken, LONGEST_END):
            logger.warning("serve.cut: a worker did not end")

    def _drained(self) -> bool:
        return all(slot.drained for slot in self._slots)

    def _ended(self) -> bool:
        return not any(slot.workers for slot in self._slots)

    def _until(self, condition: Callable[[], bool], woken: int, seconds: float) -> bool:
        limit = time.monotonic() + seconds
        while True:
            for slot in self._slots:
                slot.reap()
            if condition():
                return True
            left = limit - time.monotonic()
            if left <= 0:
                return False
            self._wait(woken, min(left, POLL))

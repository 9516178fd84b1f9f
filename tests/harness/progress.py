"""What a person sees while several processes run the tests: how far they are, and what runs now.

With one process, or with -v or -q, pytest prints what it always prints.
"""

import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import pytest
from _pytest.terminal import TerminalReporter

LINE_SECONDS = 15.0
"""A log file gets a new line so often; a terminal has one line, which changes each second."""


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Progress:
    def __init__(self, terminal: TerminalReporter) -> None:
        self._terminal = terminal
        self._on_terminal = sys.stdout.isatty()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._began = time.monotonic()
        self._running: dict[str, float] = {}
        self.total = self.done = self.failed = 0
        self._ticking = threading.Thread(target=self._tick, daemon=True)

    def line(self) -> str:
        now = time.monotonic()
        share = self.done * 100 // max(self.total, 1)
        counts = f"{self.done:,} of {self.total:,} tests, {self.failed} failed"
        running = ", ".join(
            f"{name} ({duration(now - since)})" for name, since in list(self._running.items())
        )
        return f"{share:3d}% {duration(now - self._began)}: {counts}. Now: {running or '-'}"

    def _tick(self) -> None:
        while not self._over.wait(1.0 if self._on_terminal else LINE_SECONDS):
            self._write()

    def _write(self) -> None:
        with self._lock:
            if not self._on_terminal:
                self._terminal.write_line(self.line())
            elif not self._over.is_set():
                width = shutil.get_terminal_size().columns - 1
                self._terminal.rewrite(self.line()[:width], erase=True)

    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        if not self._ticking.is_alive():
            self.total = len(ids)
            self._ticking.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        if self._running.pop(nodeid, None) is not None:
            self.done += 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """No letter for a test that passed."""
        passed = report.passed and not hasattr(report, "wasxfail")
        return (report.outcome if report.when == "call" else "", "", "") if passed else None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Iterator[None]:
        with self._lock:
            yield
            if report.failed:
                self.failed += 1
                self._terminal.write_line(f" {report.nodeid} failed ({report.when})")

    def pytest_sessionfinish(self) -> None:
        self._over.set()
        if self._ticking.is_alive():
            self._ticking.join()
            self._write()


@pytest.hookimpl(trylast=True)  # after xdist has read its options
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    shared_out = config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput")
    if terminal and shared_out and not config.option.verbose:
        config.pluginmanager.register(Progress(terminal))

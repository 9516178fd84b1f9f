"""`manage.py carillon …` as a process, and what it says."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import psutil

from tests.harness.servers import ROOT

DEADLINE = 30.0


class Served:
    """A `manage.py carillon …`, and what it has said so far."""

    def __init__(self, *arguments: str, environment: dict[str, str]) -> None:
        self.said = ""
        self.popen = subprocess.Popen(
            [sys.executable, "manage.py", "carillon", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def says(self, pattern: str) -> str:
        """Waits for a line in which the pattern is, and returns its first group."""
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.said += line
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError(f"It ended without saying {pattern!r}:\n{self.said}")

    @cached_property
    def port(self) -> int:
        """Where it serves, once it says so."""
        return int(self.says(r"http://127\.0\.0\.1:(\d+)/"))

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.popen.pid).children()

    def wait(self) -> int:
        """Its exit status, when it ends by itself; the rest of what it says is in `said`."""
        rest, _ = self.popen.communicate(timeout=DEADLINE)
        self.said += rest
        return self.popen.returncode

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status at a signal."""
        self.popen.send_signal(by)
        return self.wait()


@contextmanager
def served(*arguments: str, environment: dict[str, str]) -> Iterator[Served]:
    process = Served(*arguments, environment=environment)
    try:
        yield process
    finally:
        process.end(signal.SIGKILL)

"""`manage.py carillon …` as a process, and its output."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import psutil

from tests.harness.servers import ROOT

DEADLINE_SECONDS = 30.0


class CarillonProcess:
    """A running `manage.py carillon …`. `output` is what has been read of its output so far."""

    def __init__(self, *arguments: str, environment: dict[str, str]) -> None:
        self.output = ""
        self.popen = subprocess.Popen(
            [sys.executable, "manage.py", "carillon", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for(self, pattern: str) -> str:
        """Wait for a line that the pattern matches, and return the first group of the match."""
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.output += line
            if match := re.search(pattern, line):
                return match[1]
        raise AssertionError(f"The process ended without printing {pattern!r}:\n{self.output}")

    @cached_property
    def port(self) -> int:
        """The port it serves, once it has printed that."""
        return int(self.wait_for(r"http://127\.0\.0\.1:(\d+)/"))

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.popen.pid).children()

    def wait(self) -> int:
        """Wait until it exits by itself. Returns its exit status."""
        remaining, _ = self.popen.communicate(timeout=DEADLINE_SECONDS)
        self.output += remaining
        return self.popen.returncode

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and wait. Returns its exit status."""
        self.popen.send_signal(by)
        return self.wait()


@contextmanager
def carillon_process(*arguments: str, environment: dict[str, str]) -> Iterator[CarillonProcess]:
    process = CarillonProcess(*arguments, environment=environment)
    try:
        yield process
    finally:
        process.end(signal.SIGKILL)

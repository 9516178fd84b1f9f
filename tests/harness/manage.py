"""`manage.py carillon …` as a process, and its output."""

import fcntl
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from tests.harness.servers import migrate
from tests.harness.warm import ROOT, WarmProcess, python_process

DEADLINE_SECONDS = 60.0


class CarillonProcess:
    """A running `manage.py carillon …`. `output` is what has been read of its output so far."""

    def __init__(
        self,
        *arguments: str,
        environment: dict[str, str],
        terminal: int | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        self.output = ""
        self.popen: subprocess.Popen[str]
        command = ["manage.py", "carillon", *arguments]
        output: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        if terminal is None and not wrapper:
            self.popen = python_process(
                *command, env=environment, stdin=subprocess.DEVNULL, **output
            )
            return
        self.popen = subprocess.Popen(
            [*wrapper, sys.executable, *command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            start_new_session=terminal is not None,
            preexec_fn=None if terminal is None else _control_terminal,
            **output,
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
        return int(self.wait_for(r"http://(?:127\.0\.0\.1|localhost|\[::1\]):(\d+)/"))

    def workers(self) -> list[psutil.Process]:
        return workers_of(self.popen)

    def wait(self) -> int:
        """Wait until it exits by itself. Returns its exit status."""
        remaining, _ = self.popen.communicate(timeout=DEADLINE_SECONDS)
        self.output += remaining
        return self.popen.returncode

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and wait. Returns its exit status."""
        self.popen.send_signal(by)
        return self.wait()


def workers_of(popen: "subprocess.Popen[Any]") -> list[psutil.Process]:
    """The worker processes of `carillon serve`."""
    supervisor = psutil.Process(popen.pid)
    if isinstance(popen, WarmProcess):  # then a child, which is a copy of it, forks the workers
        copies = [each for each in supervisor.children() if each.cmdline() == supervisor.cmdline()]
        return copies[0].children() if copies else []
    return supervisor.children()


def _control_terminal() -> None:
    """Make standard input the terminal whose Ctrl-C this process gets."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def carillon_process(
    *arguments: str,
    environment: dict[str, str],
    terminal: int | None = None,
    wrapper: Sequence[str] = (),
) -> Iterator[CarillonProcess]:
    """`wrapper` is a command that runs the command that follows it.

    The database of `serve` has its tables, without which it would not start.
    """
    if "serve" in arguments:
        migrate(Path(environment["DATA_DIR"]))
    process = CarillonProcess(
        *arguments, environment=environment, terminal=terminal, wrapper=wrapper
    )
    try:
        yield process
    finally:
        process.end(signal.SIGKILL)

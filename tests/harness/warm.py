"""Start Python programs without the time that their imports take: see `warm_interpreter`."""

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from struct import unpack
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = dict(os.environ)
READ_AT_IMPORT = ("LISTEN_", "OTEL_", "PSUTIL_", "PYDANTIC_", "PYTHON", "WEBSOCKETS_")
"""What is imported before the fork, and Python itself, read variables with these names."""


def python_process(
    *arguments: str, env: dict[str, str], fresh: bool = False, **options: Any
) -> "subprocess.Popen[Any]":
    """`python ARGUMENTS` in our folder. `fresh` is for tests of the start itself, or of memory."""
    kind = subprocess.Popen if fresh or not _can_be_warm(env) else WarmProcess
    return kind([sys.executable, *arguments], cwd=ROOT, env=env, **options)


def run_python(
    *arguments: str, env: dict[str, str], timeout: float
) -> "subprocess.CompletedProcess[str]":
    """Wait for `python ARGUMENTS` to end, whatever its status."""
    with python_process(
        *arguments,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def _can_be_warm(env: dict[str, str]) -> bool:
    return (
        hasattr(os, "pidfd_open")
        and env.get("PYTHONPATH", str(ROOT)).split(os.pathsep)[-1] == str(ROOT)
        and _read_at_import(env) == _read_at_import(ENVIRONMENT)
    )


def _read_at_import(env: dict[str, str]) -> dict[str, str]:
    read_by_fork = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONUNBUFFERED"}
    return {
        name: value
        for name, value in env.items()
        if name.startswith(READ_AT_IMPORT) and name not in read_by_fork
    }


class Forking:
    """A process that forks for each start. It ends when our end of its socket does."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._lock = threading.Lock()

    def start(self, start: dict[str, Any], descriptors: list[int]) -> int:
        """The descriptor of the socket on which the answers arrive."""
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            ours.sendall(f"{json.dumps(start)}\n".encode())
            socket.send_fds(self._control, [b"s"], [theirs.fileno(), *descriptors])
        return ours.detach()


class Interpreter(Forking):
    """The warm interpreter of this process, which ends with it."""

    def __init__(self) -> None:
        control, theirs = socket.socketpair()
        super().__init__(control)
        environment = {**ENVIRONMENT, "PYTHONPATH": str(ROOT)}
        environment.pop("DJANGO_SETTINGS_MODULE", None)  # who reads settings fails
        with theirs:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "tests.harness.warm_interpreter", str(theirs.fileno())],
                cwd=ROOT,
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        atexit.register(self.end)

    def end(self) -> None:
        self._control.close()
        self._popen.wait()


_interpreter = cache(Interpreter)


class WarmProcess(subprocess.Popen[Any]):
    """A process that the warm interpreter forks, with the methods of `Popen`.

    Its parent is the interpreter, which waits for it and sends its return code.
    """

    forking: Callable[[], Forking] = staticmethod(_interpreter)

    def _execute_child(
        self, args: list[str], _executable: None, preexec_fn: None, _close_fds: bool, *given: Any
    ) -> None:
        assert preexec_fn is None
        pass_fds, cwd, env, _, _, _, *pipes = given[:12]
        stdin, _, _, stdout, _, stderr = pipes
        standard = [own if fd == -1 else fd for own, fd in enumerate((stdin, stdout, stderr))]
        start = {
            "arguments": args[1:],
            "environment": dict(os.environ) if env is None else env,
            "folder": str(cwd or Path.cwd()),
            "new_session": given[-2],
            "process_group": given[-1],
            "descriptors": [0, 1, 2, *pass_fds],
        }
        try:
            self._link = self.forking().start(start, [*standard, *pass_fds])
            weakref.finalize(self, os.close, self._link)
            self.pid = self._answer()
            self._child_created = True
        finally:
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _answer(self) -> int:
        data = os.read(self._link, 4)
        assert data, "The warm interpreter has ended: its error is in the output of the tests."
        return int(unpack("!i", data)[0])

    def _wait(self, timeout: float | None) -> int | None:
        if self.returncode is None and not select.select([self._link], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self._internal_poll()

    def _internal_poll(self, _deadstate: int | None = None) -> int | None:
        with self._waitpid_lock:  # type: ignore[attr-defined]
            if self.returncode is None and select.select([self._link], [], [], 0)[0]:
                self.returncode = self._answer()
        return self.returncode

"""Processes that end with the benchmark, and what the kernel has counted for them."""

import ctypes
import http.client
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.05
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


class Broken(Exception):
    """A measurement cannot be used; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of CPU, as the kernel divides them: it looks at each of its ticks which it is.

    So the sum is exact to some 10 ms, and the division is a sample, better in long measurements.
    """

    user: float = 0.0
    system: float = 0.0

    def __sub__(self, earlier: "Cpu") -> "Cpu":
        return Cpu(self.user - earlier.user, self.system - earlier.system)

    def __add__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.user + other.user, self.system + other.system)

    def each(self, count: float) -> "Cpu":
        return Cpu(self.user / count, self.system / count)

    def figures(self, name: str) -> dict[str, float]:
        """The sum under this name, and its parts under names that begin with it."""
        return {
            name: self.user + self.system,
            f"{name} user": self.user,
            f"{name} system": self.system,
        }


def end_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def running(
    command: Sequence[str],
    *,
    log: Path,
    environment: dict[str, str] | None = None,
    folder: Path = ROOT,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process, which ends with the block, with all the processes that it starts.

    It is in its own session, so Ctrl-C does not reach it from the terminal: it is ended in order.
    """
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for_http(process: subprocess.Popen[bytes], port: int, path: str, *, log: Path) -> None:
    """Wait until the headers of a response come, with any status."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
        try:
            connection.request("GET", path, headers={"Host": "localhost"})
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            time.sleep(POLL_SECONDS)
        else:
            return
        finally:
            connection.close()
    raise Broken(f"The server did not start: {_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it wrote nothing"


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    pids = [pid]
    for parent in pids:
        with suppress(OSError):
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                pids += map(int, children.read_text().split())
    return pids


def cpu(pids: Sequence[int]) -> Cpu:
    """In steps of the kernel's clock tick (10 ms)."""
    return _sum(_cpu_times(pid)[:2] for pid in pids)


def cpu_of_ended_children(pid: int) -> Cpu:
    """The CPU of the processes that this one started, and for whose end it has waited."""
    return _sum([_cpu_times(pid)[2:]])


def _cpu_times(pid: int) -> list[int]:
    """Ticks: user, system, and the same of the children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(field) for field in fields[11:15]]


def _sum(times: Iterable[Sequence[int]]) -> Cpu:
    ticks = os.sysconf("SC_CLK_TCK")
    return sum((Cpu(user / ticks, system / ticks) for user, system in times), Cpu())


def private_bytes(pids: Sequence[int]) -> int:
    """The memory that these processes have written to, and share with no other process."""
    return sum(_kib(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Private_Dirty") for pid in pids)


def kernel_bytes() -> int:
    """What the kernel holds in objects, and in the buffers of all TCP sockets of this machine."""
    sockets = re.search(r"^TCP: .* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    pages = int(sockets[1]) if sockets else 0
    return _kib(Path("/proc/meminfo").read_text(), "Slab") + pages * os.sysconf("SC_PAGE_SIZE")


def _kib(text: str, name: str) -> int:
    found = re.search(rf"^{name}: *(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def thread_count(pids: Sequence[int]) -> int:
    return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids)


def open_files(pids: Sequence[int]) -> list[str]:
    """The target of each descriptor: a path, or `socket:[…]`."""
    names = []
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                names.append(str(descriptor.readlink()))
    return names

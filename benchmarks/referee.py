"""The referee: one load generator in C for every server (`sseload.c`), and its output.

It opens N streams, publishes K marked events by POST, finds the marks in what each stream receives,
and reads what the kernel counted for the server's processes meanwhile.
"""

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from benchmarks.peers import Peer
from benchmarks.processes import Broken, Cpu, end_with_parent

SOURCE = Path(__file__).parent / "sseload.c"
DEADLINE_SECONDS = 300.0
POLL_SECONDS = 0.05
SHORTEST_SECONDS = 0.01
"""The shortest time that the referee prints."""

# The streams come from so many addresses, so that ports do not run out.
SOURCE_ADDRESSES = 4

_CONNECT = re.compile(
    r"connect: (?P<opened>\d+) ok (?P<bad>\d+) bad in (?P<seconds>[\d.]+)s, "
    r"server cpu user (?P<user>-?[\d.]+) sys (?P<system>-?[\d.]+), (?P<kib>-?[\d.]+) KiB/conn"
)
_DELIVER = re.compile(
    r"deliver: (?P<got>\d+)/(?P<expected>\d+) \(lost -?\d+\) in (?P<seconds>[\d.]+)s = \d+ ev/s; "
    r"publish acked (?P<acked>\d+)/(?P<sent>\d+) \((?P<refused>\d+) not 2xx\).*; "
    r"closed (?P<closed>\d+)"
)
_LATENCY = re.compile(r"p50 (?P<p50>[\d.]+) .*p99 (?P<p99>[\d.]+) .*max (?P<max>[\d.]+)")
_CPU = re.compile(r"server cpu: user (?P<user>-?[\d.]+) sys (?P<system>-?[\d.]+)")


@dataclass(frozen=True, slots=True)
class Connected:
    """`cpu` is of all streams, `memory` bytes per stream without a collection of garbage."""

    opened: int
    seconds: float
    cpu: Cpu
    memory: float


@dataclass(frozen=True, slots=True)
class Delivered:
    """`cpu` is per delivery; `p50`, `p99` and `slowest` are seconds after the publish."""

    streams: Connected
    got: int
    seconds: float
    cpu: Cpu
    p50: float
    p99: float
    slowest: float


def compiled(cache: Path) -> Path:
    """The referee's program, compiled once for each version of its source."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    program = cache / f"sseload-{digest}"
    if program.exists():
        return program
    compiler = shutil.which("cc")
    if compiler is None:
        raise Broken("The referee needs a C compiler (apt install gcc).")
    cache.mkdir(parents=True, exist_ok=True)
    draft = program.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        [compiler, "-O2", "-w", "-o", str(draft), str(SOURCE)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Broken(f"The referee cannot be compiled: {done.stderr.strip()}")
    draft.replace(program)
    return program


class Referee:
    """After `lost_after` seconds without a delivery, the missing deliveries are lost."""

    def __init__(self, program: Path, *, lost_after: int) -> None:
        self._program = program
        self._lost_after = lost_after

    def connect(
        self,
        peer: Peer,
        *,
        streams: int,
        headers: str = "",
        path: str | None = None,
        users: int = 1,
        first_user: int = 0,
    ) -> Connected:
        """Open the streams, and leave.

        `%d` in the path and in the headers is the number of a user below `users`, in turn from
        `first_user` on.
        """
        options = ["--connect-only", *_of_users(headers, users, first_user)]
        return _connected(self._run(peer, options, streams=streams, path=path), streams)

    @contextmanager
    def holding(
        self,
        peer: Peer,
        *,
        streams: int,
        headers: str = "",
        path: str | None = None,
        users: int = 1,
        first_user: int = 0,
    ) -> Iterator[Connected]:
        """As `connect`, but the streams stay open, and are read, as long as the block runs."""
        options = ["--hold", *_of_users(headers, users, first_user)]
        with (
            TemporaryFile("w+") as output,
            self._started(peer, options, streams=streams, path=path, output=output) as process,
        ):
            deadline = time.monotonic() + DEADLINE_SECONDS
            text = ""
            while "connect:" not in text and process.poll() is None:
                if time.monotonic() > deadline:
                    raise Broken("The streams did not open.")
                time.sleep(POLL_SECONDS)
                output.seek(0)
                text = output.read()
            yield _connected(text, streams)

    def deliver(
        self,
        peer: Peer,
        *,
        streams: int,
        events: int,
        rate: float,
        path: str | None = None,
        everyone_of: int = 1,
        publish_port: int | None = None,
        size: int = 100,
        settle: float = 1.0,
        publishers: int = 1,
    ) -> Delivered:
        """Open the streams and publish to them, `rate` events a second.

        With a rate of 0, each of the `publishers` publishes as soon as it is answered.

        `everyone_of`: the number of different paths by `%d`, which all receive each event. The
        referee expects each event on one path only, so it gets that many times as many events
        as its count, and stops when the deliveries that it expects have come. It must not have
        sent more events by then: a `rate` slower than a fan-out ensures that, and it is checked.
        """
        options = [
            *("--count", str(events * everyone_of), "--rate", str(rate)),
            *("--shards", str(everyone_of), "--pub-path", peer.publish_path),
            *("--pub-port", str(publish_port or peer.port), "--body", peer.body),
            *("--ctype", peer.content_type, "--pub-hdr", peer.publish_headers),
            *("--size", str(size), "--settle", str(int(settle * 1000))),
            *("--wait", str(self._lost_after), "--publishers", str(publishers)),
        ]
        output = self._run(peer, options, streams=streams, path=path)
        return _delivered(output, streams, events)

    def _run(self, peer: Peer, options: list[str], *, streams: int, path: str | None) -> str:
        with (
            TemporaryFile("w+") as output,
            self._started(peer, options, streams=streams, path=path, output=output) as process,
        ):
            try:
                process.wait(DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                raise Broken("The referee did not end.") from None
            output.seek(0)
            return output.read()

    @contextmanager
    def _started(
        self, peer: Peer, options: list[str], *, streams: int, path: str | None, output: IO[str]
    ) -> Iterator[subprocess.Popen[bytes]]:
        command = [
            *(str(self._program), "--conns", str(streams), "--srcs", str(SOURCE_ADDRESSES)),
            *("--port", str(peer.port), "--path", path or peer.path),
            *("--pids", ",".join(map(str, peer.pids))),
            *options,
        ]
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, preexec_fn=end_with_parent
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _of_users(headers: str, users: int, first_user: int) -> list[str]:
    """The options for the streams of so many users."""
    return ["--sub-hdr", headers, "--shards", str(users), "--offset", str(first_user)]


def _connected(output: str, streams: int) -> Connected:
    figures = _find(_CONNECT, output)
    opened = int(figures["opened"])
    if opened != streams:
        raise Broken(f"Only {opened} of {streams} streams opened: {output.strip().splitlines()[0]}")
    return Connected(
        opened,
        max(float(figures["seconds"]), SHORTEST_SECONDS),
        _cpu(figures),
        float(figures["kib"]) * 1024,
    )


def _delivered(output: str, streams: int, events: int) -> Delivered:
    """Raises `Broken` where a delivery was lost or a publication refused."""
    opened = _connected(output, streams)
    figures, latency = _find(_DELIVER, output), _find(_LATENCY, output)
    got, expected, sent = int(figures["got"]), int(figures["expected"]), int(figures["sent"])
    if got != expected or sent != events:
        raise Broken(f"LOST: {got} of {expected} deliveries, {sent} of {events} events sent.")
    refused, closed = figures["refused"], figures["closed"]
    if int(refused) or int(closed):
        raise Broken(f"{refused} publishes refused, {closed} streams closed.")
    return Delivered(
        opened,
        got,
        max(float(figures["seconds"]), SHORTEST_SECONDS),
        _cpu(_find(_CPU, output)).each(got),
        *(float(latency[key]) / 1000 for key in ("p50", "p99", "max")),
    )


def _cpu(figures: re.Match[str]) -> Cpu:
    """The kernel corrects its division of CPU, so a part of it may seem to have gone back."""
    return Cpu(max(0.0, float(figures["user"])), max(0.0, float(figures["system"])))


def _find(pattern: re.Pattern[str], output: str) -> re.Match[str]:
    match = pattern.search(output)
    if match is None:
        raise Broken(f"The referee output something else: {output.strip()[-300:]!r}")
    return match

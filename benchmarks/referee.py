"""The referee: one load generator in C for every server (`sseload.c`), and what it says.

It opens N streams, publishes K marked events by POST, finds the marks in what each stream receives,
and reads what the kernel counted of the server's processes meanwhile.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import Peer
from benchmarks.processes import Broken

SOURCE = Path(__file__).parent / "sseload.c"
DEADLINE = 300.0
POLL = 0.25
INSTANT = 0.01
"""The shortest time that the referee can tell."""

# Spread over as many addresses, so that ports do not run out.
SOURCES = 4

_CONNECT = re.compile(
    r"connect: (?P<opened>\d+) ok (?P<bad>\d+) bad in (?P<seconds>[\d.]+)s, "
    r"server cpu -?(?P<cpu>[\d.]+)s .*\((?P<kib>-?[\d.]+) KiB/conn\)"
)
_IDLE = re.compile(r"idle: cpu -?(?P<percent>[\d.]+)%")
_DELIVER = re.compile(
    r"deliver: (?P<got>\d+)/(?P<expected>\d+) \(lost -?\d+\) in (?P<seconds>[\d.]+)s = \d+ ev/s; "
    r"publish acked (?P<acked>\d+)/(?P<sent>\d+) \((?P<refused>\d+) not 2xx\).*; "
    r"closed (?P<closed>\d+)"
)
_LATENCY = re.compile(r"p50 (?P<p50>[\d.]+) .*p99 (?P<p99>[\d.]+) .*max (?P<max>[\d.]+)")
_CPU = re.compile(r"server cpu: .* = -?(?P<cpu>[\d.]+) us per delivery")


@dataclass(frozen=True, slots=True)
class Connected:
    """`cpu` is seconds per stream, `memory` bytes per stream, `idle` the share of a core."""

    opened: int
    seconds: float
    cpu: float
    memory: float
    idle: float = 0.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """`cpu` is seconds per delivery; `p50`, `p99` and `slowest` are seconds after the publish."""

    streams: Connected
    got: int
    seconds: float
    cpu: float
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
        raise Broken("There is no C compiler for the referee: install one (apt install gcc).")
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
    """`patience` is how many seconds without a delivery make what is missing a lost one."""

    def __init__(self, program: Path, *, patience: int) -> None:
        self._program = program
        self._patience = patience

    def connect(
        self,
        peer: Peer,
        *,
        streams: int,
        idle: int = 0,
        headers: str = "",
        path: str | None = None,
        shards: int = 1,
        meanwhile: Callable[[], None] | None = None,
    ) -> Connected:
        """Open the streams, watch them for `idle` seconds while nothing is sent, and leave."""
        words = [*("--idle-only", "--wait", str(idle)), "--sub-hdr", headers]
        words += ["--shards", str(shards)]
        said = self._run(peer, words, streams=streams, path=path, meanwhile=meanwhile)
        percent = float(_find(_IDLE, said)["percent"]) if idle else 0.0
        return _connected(said, streams, idle=percent / 100)

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
    ) -> Delivered:
        """Open the streams and publish to them, `rate` events a second (0: as fast as is answered).

        `everyone_of`: how many different paths `%d` makes, all of which hear each event. The
        referee takes such streams for shares of which one hears an event, so it is told of that
        many times as many events, and stops when all that it waits for has come: it must not have
        sent more by then, which a `rate` slower than a fan-out sees to, and which is checked.
        """
        words = [
            *("--count", str(events * everyone_of), "--rate", str(rate)),
            *("--shards", str(everyone_of), "--pub-path", peer.publish_path),
            *("--pub-port", str(publish_port or peer.port), "--body", peer.body),
            *("--ctype", peer.content_type, "--pub-hdr", peer.publish_headers),
            *("--size", str(size), "--settle", str(int(settle * 1000))),
            *("--wait", str(self._patience)),
        ]
        said = self._run(peer, words, streams=streams, path=path)
        streams_open = _connected(said, streams, idle=0)
        told, latency = _find(_DELIVER, said), _find(_LATENCY, said)
        got, expected, sent = int(told["got"]), int(told["expected"]), int(told["sent"])
        if got != expected or sent != events:
            raise Broken(f"LOST: {got} of {expected} deliveries, {sent} of {events} events sent.")
        if int(told["refused"]) or int(told["closed"]):
            raise Broken(f"{told['refused']} publishes refused, {told['closed']} streams closed.")
        return Delivered(
            streams_open,
            got,
            max(float(told["seconds"]), INSTANT),
            float(_find(_CPU, said)["cpu"]) / 1e6,
            *(float(latency[key]) / 1000 for key in ("p50", "p99", "max")),
        )

    def _run(
        self,
        peer: Peer,
        words: list[str],
        *,
        streams: int,
        path: str | None,
        meanwhile: Callable[[], None] | None = None,
    ) -> str:
        command = [
            *(str(self._program), "--conns", str(streams), "--srcs", str(SOURCES)),
            *("--port", str(peer.port), "--path", path or peer.path),
            *("--pids", ",".join(map(str, peer.pids))),
            *words,
        ]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            waited = 0.0
            while True:
                try:
                    said, _ = process.communicate(timeout=POLL)
                except subprocess.TimeoutExpired:
                    waited += POLL
                    if meanwhile is not None:
                        meanwhile()
                    if waited > DEADLINE:
                        raise Broken("The referee did not come to an end.") from None
                else:
                    return said
        finally:
            process.kill()
            process.wait()


def _connected(said: str, streams: int, *, idle: float) -> Connected:
    told = _find(_CONNECT, said)
    opened = int(told["opened"])
    if opened != streams:
        raise Broken(f"Only {opened} of {streams} streams opened: {said.strip().splitlines()[0]}")
    return Connected(
        opened,
        max(float(told["seconds"]), INSTANT),
        float(told["cpu"]) / opened,
        float(told["kib"]) * 1024,
        idle,
    )


def _find(pattern: re.Pattern[str], said: str) -> re.Match[str]:
    match = pattern.search(said)
    if match is None:
        raise Broken(f"The referee said something else: {said.strip()[-300:]!r}")
    return match

"""The parts of a benchmark: rows, the cells that they measure, and the lines of the table."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Protocol

from benchmarks import database, peers
from benchmarks.builds import Build
from benchmarks.peers import SERVERS, Peer, Store
from benchmarks.referee import Referee

EARLIER = " (earlier)"
"""The end of the name of a cell that is measured with an earlier build."""

type Sample = Mapping[str, float]
"""The figures of one run of a cell, by name: seconds, bytes or counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The sizes of all measurements."""

    many: int = 1_000
    crowd: int = 10_000
    fanouts: int = 60
    rate: float = 10
    crowd_fanouts: int = 12
    few: int = 300
    burst: int = 200
    posts: int = 2_000
    batched: int = 50_000
    retained: int = 100_000
    idle: int = 20
    spread: int = 26
    """Seconds after the last stream has opened, until keep-alives are spread evenly over time."""
    steady: int = 60
    steady_rate: int = 1_000
    steady_streams: int = 500
    people: int = 1_000
    """With an open page."""
    notified: int = 10_000
    """By one call."""
    lost_after: int = 10
    """Seconds without a delivery after which the missing deliveries are lost."""
    pace: float = 1.0
    """The duration, as a factor of the seconds of the cells."""


FULL = Scale()
QUICK = Scale(
    many=500,
    crowd=3_000,
    fanouts=20,
    crowd_fanouts=4,
    few=100,
    posts=500,
    batched=20_000,
    retained=30_000,
    idle=5,
    steady=10,
    people=300,
    notified=2_000,
    pace=0.5,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """The means of a measurement of one build, which keeps its files in `folder`."""

    folder: Path
    referee: Referee
    scale: Scale
    build: Build

    @contextmanager
    def carillon(
        self, server: str, *, workers: int = 1, store: Store | None = None
    ) -> Iterator[Peer]:
        """Ours, with a database of as many users as a crowd, and its own Redis or this one."""
        database.prepare(self.folder, self.build, users=self.scale.crowd)
        with (
            nullcontext(store) if store else peers.redis(self.folder) as redis,
            peers.carillon(self.folder, redis, server, workers=workers, build=self.build) as peer,
        ):
            yield peer

    @contextmanager
    def site(self, name: str, server: str) -> Iterator[Peer]:
        """One of `benchmarks.sites`, with its own Redis."""
        with (
            peers.redis(self.folder) as store,
            peers.site(self.folder, store, name, server) as peer,
        ):
            yield peer


class Measure(Protocol):
    """The measurement of a cell, under one of the servers."""

    def __call__(self, bench: Bench, *, server: str) -> Sample: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One measurement, from the start of its servers to their end."""

    name: str
    measure: Callable[[Bench], Sample]
    seconds: float
    """The approximate duration, at full scale and on a quiet machine."""
    ours: bool = True
    compared: bool = False
    """Whether an earlier build is measured too, if one is given."""
    once: bool = False
    """Whether one run is enough, because the figures hardly vary."""
    missing: Callable[[], str | None] = lambda: None
    """The reason why it cannot be measured on this machine, or None."""


def under_each(
    name: str,
    measure: Measure,
    seconds: float,
    *,
    ours: bool = True,
    compared: bool = False,
    once: bool = False,
) -> list[Cell]:
    """A cell for each server, with the name of the server in its name."""
    return [
        Cell(
            name=f"{name} {server}",
            measure=partial(measure, server=server),
            seconds=seconds,
            ours=ours,
            compared=compared,
            once=once,
        )
        for server in SERVERS
    ]


type Key = tuple[str, str]
"""The name of a cell and of one of its figures.

CPU is three figures: the sum has the name, and the names of its parts end with `user` and `system`.
"""


def earlier(key: Key) -> Key:
    """The same figure of an earlier build."""
    return key[0] + EARLIER, key[1]


def part(key: Key | None, name: str) -> Key | None:
    """The `user` or the `system` time of a figure that is CPU."""
    return key and (key[0], f"{key[1]} {name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A figure of the table, beside another where there is one.

    `factor` turns seconds or bytes into the unit. `at_most` and `at_least` bound the ratio to the
    figure `beside` it, or else the figure itself; with `of_earlier` the ratio to that of an earlier
    build.
    """

    text: str
    key: Key
    unit: str
    factor: float = 1.0
    beside: Key | None = None
    beside_text: str = ""
    at_most: float | None = None
    at_least: float | None = None
    of_earlier: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    title: str
    cells: Sequence[Cell]
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True)
class Fault:
    cell: str
    run: int
    reason: str
    ours: bool


@dataclass(slots=True)
class Results:
    """Every sample of every cell, and the faults."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def has(self, cell: str, run: int) -> bool:
        """Whether this run of the cell has been measured, or has failed."""
        failed = sum(fault.cell == cell for fault in self.faults)
        return len(self.samples.get(cell, ())) + failed >= run

    def values(self, key: Key | None) -> list[float]:
        if key is None:
            return []
        cell, figure = key
        return [sample[figure] for sample in self.samples.get(cell, ()) if figure in sample]

    def median(self, key: Key | None) -> float | None:
        values = self.values(key)
        return median(values) if values else None

    def ratio(self, key: Key | None, beside: Key | None) -> float | None:
        """Of the medians of two figures; None if either has not been measured, or is zero."""
        value, other = self.median(key), self.median(beside)
        return value / other if value is not None and other else None

    def met(self, line: Line) -> bool | None:
        """Whether the line is within its bound; None without a bound or a figure."""
        if line.of_earlier:
            judged = self.ratio(line.key, earlier(line.key))
        elif line.beside:
            judged = self.ratio(line.key, line.beside)
        else:
            value = self.median(line.key)
            judged = None if value is None else value * line.factor
        if judged is None or (line.at_most is None and line.at_least is None):
            return None
        too_much = line.at_most is not None and judged > line.at_most
        too_little = line.at_least is not None and judged < line.at_least
        return not (too_much or too_little)

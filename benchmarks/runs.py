"""Runs the cells of the rows in turn, A B A B …, and prints its progress."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.builds import THIS_BUILD, Build
from benchmarks.processes import Broken
from benchmarks.referee import Referee, compiled
from benchmarks.table import EARLIER, Bench, Cell, Fault, Results, Row, Scale


def run(
    rows: Sequence[Row],
    results: Results,
    *,
    scale: Scale,
    runs: int,
    cache: Path,
    earlier: Build | None = None,
    save: Callable[[], object] = lambda: None,
) -> None:
    """Measure every cell of the rows `runs` times, except those that `results` already has.

    `save` is called after each. A failure is printed, and kept as a fault. An `earlier` build is
    measured in turn with this one.
    """
    program = compiled(cache)
    _raise_descriptor_limit(scale.crowd + 200)
    with TemporaryDirectory(prefix="carillon-bench-") as name:
        referee = Referee(program, lost_after=scale.lost_after)
        benches = {}
        for build in filter(None, (THIS_BUILD, earlier)):
            folder = Path(name) / (build.commit or "this")
            folder.mkdir()
            benches[build] = Bench(folder, referee, scale, build)
        plan = [
            each for each in _plan(rows, runs, earlier) if not results.has(each[0].name, each[1])
        ]
        for index, (cell, number, build) in enumerate(plan):
            left = sum(each.seconds for each, _, _ in plan[index:]) * scale.pace
            _print(
                f"[{index + 1}/{len(plan)}] {cell.name}, run {number}/{runs}, {_clock(left)} left"
            )
            _measure(benches[build], cell, number, results)
            save()


def _plan(
    rows: Sequence[Row], runs: int, earlier: Build | None
) -> Iterator[tuple[Cell, int, Build]]:
    """The cells of each row in turn, once per run. A cell of several rows is measured once."""
    planned: set[str] = set()
    for row in rows:
        cells = [cell for cell in row.cells if cell.name not in planned]
        planned.update(cell.name for cell in cells)
        for number in range(1, runs + 1):
            for cell in cells:
                if cell.once and number > 1:
                    continue
                if earlier and cell.compared:
                    yield replace(cell, name=cell.name + EARLIER), number, earlier
                yield cell, number, THIS_BUILD


def _measure(bench: Bench, cell: Cell, number: int, results: Results) -> None:
    if reason := cell.missing():
        results.missing[cell.name] = reason
        return
    try:
        sample = cell.measure(bench)
    except (Broken, OSError, subprocess.SubprocessError) as error:
        _print(f"  {cell.name}: {error}")
        results.faults.append(Fault(cell.name, number, str(error), cell.ours))
    else:
        results.samples.setdefault(cell.name, []).append(sample)


def _raise_descriptor_limit(needed: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise Broken(f"{needed} descriptors are needed and {hard} allowed (ulimit -Hn).")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    return f"about {max(1, round(seconds / 60))} min"


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "carillon-bench"

"""`./run bench`: the command line."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine, report, runs
from benchmarks.processes import Broken
from benchmarks.rows import ROWS
from benchmarks.table import FULL, QUICK, Results, Row, Scale

INTERRUPTED = 130
RESULTS = Path(__file__).parent / "results"

DESCRIPTION = """\
Measures this checkout beside nchan, django-eventstream and a naive view on this machine, and writes
a table with the machine and the versions. CPU is what the kernel counted of the server's processes.
A busy machine makes all of it larger: there, trust ratios alone, and seconds and rates not at all.
"""


def parser() -> argparse.ArgumentParser:
    rows = "\n".join(f"  {row.name:10}{_title(row)}" for row in ROWS)
    made = argparse.ArgumentParser(
        prog="./run bench",
        description=DESCRIPTION,
        epilog=f"rows (all, unless some are named):\n{rows}\n\n"
        "It needs cc and redis-server, and nginx with nchan to be compared with that:\n"
        "  apt install gcc libc6-dev redis-server nginx libnginx-mod-nchan\n\n"
        "The exit status is 1 where something of ours was lost or failed, whatever the figures.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [row.name for row in ROWS]
    made.add_argument("row", nargs="*", metavar="ROW", help="rows to measure", choices=[*names, []])
    made.add_argument(
        "--quick", action="store_true", help="fewer of everything, one run: 5 minutes"
    )
    made.add_argument("--runs", type=int, help="how often (3, half an hour; 1 with --quick)")
    made.add_argument("--results", type=Path, default=RESULTS, help="the folder for the table")
    return made


def _title(row: Row) -> str:
    return report.filled(row.title, FULL)


def main(arguments: Sequence[str]) -> int:
    given = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows = [row for row in ROWS if not given.row or row.name in given.row]
    scale = QUICK if given.quick else FULL
    times = given.runs or (1 if given.quick else 3)
    # What is quoted elsewhere is a whole run.
    name = "quick" if given.quick else "some" if given.row else "latest"
    try:
        return bench(rows, scale=scale, times=times, path=given.results / f"{name}.md")
    except Broken as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


def bench(rows: Sequence[Row], *, scale: Scale, times: int, path: Path) -> int:
    """Measure, write and print; the exit status. Ctrl-C ends it with what there is by then."""
    results = Results()
    interrupted = False
    about = {**machine.described(), "load before": f"{machine.load():.1f}", "runs": str(times)}
    try:
        runs.run(rows, results, scale=scale, runs=times, cache=runs.cache_folder())
    except KeyboardInterrupt:
        about["interrupted"] = "yes: not all of it was measured"
        interrupted = True
        path = path.with_name("interrupted.md")
    report.write(path, rows, results, scale, about)
    print(report.markdown(rows, results, scale, about))
    print(f"bench: written to {path}", file=sys.stderr)
    for fault in results.faults:
        print(f"bench: {fault.cell}, run {fault.run}: {fault.reason}", file=sys.stderr)
    if interrupted:
        return INTERRUPTED
    return 1 if any(fault.ours for fault in results.faults) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`./run bench`: the command line of the benchmark."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine, report, runs
from benchmarks.builds import Build, earlier_build
from benchmarks.processes import Broken
from benchmarks.rows import ROWS
from benchmarks.table import FULL, QUICK, Results, Row, Scale

INTERRUPTED = 130
RESULTS = Path(__file__).parent / "results"

DESCRIPTION = """\
Measures this checkout beside nchan, django-eventstream and FastAPI on this machine, and writes a
table with the machine and the versions. CPU is the time that the kernel counted for the server's
processes, the user's and the system's apart. On a busy machine all figures are larger: trust only
the ratios, not seconds and rates.
"""


def command_line() -> argparse.ArgumentParser:
    rows = "\n".join(f"  {row.name:10}{_title(row)}" for row in ROWS)
    parser = argparse.ArgumentParser(
        prog="./run bench",
        description=DESCRIPTION,
        epilog=f"rows (all, unless some are named):\n{rows}\n\n"
        "It needs cc and redis-server, and nginx with nchan to be compared with that:\n"
        "  apt install gcc libc6-dev redis-server nginx libnginx-mod-nchan\n\n"
        "The table is written after each measurement, as NAME-unfinished.md until all are done.\n"
        "The exit status is 1 if ours lost a delivery or failed, whatever the figures.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [row.name for row in ROWS]
    parser.add_argument(
        "row", nargs="*", metavar="ROW", help="rows to measure", choices=[*names, []]
    )
    parser.add_argument(
        "--beside",
        metavar="COMMIT",
        help="also measure this commit, with the packages of its lock, in turn with this checkout",
    )
    parser.add_argument(
        "--quick", action="store_true", help="smaller numbers and one run: 8 minutes"
    )
    parser.add_argument(
        "--runs", type=int, help="how often each cell is measured (3; 1 with --quick)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="measure what an interrupted run has left"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder for the table")
    return parser


def _title(row: Row) -> str:
    return report.filled(row.title, FULL)


def main(arguments: Sequence[str]) -> int:
    options = command_line().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    rows = [row for row in ROWS if not options.row or row.name in options.row]
    scale = QUICK if options.quick else FULL
    times = options.runs or (1 if options.quick else 3)
    # Only a whole run overwrites the file that the documentation quotes.
    name = "quick" if options.quick else "some" if options.row else "latest"
    try:
        earlier = options.beside and earlier_build(options.beside, runs.cache_folder())
        return bench(
            rows,
            scale=scale,
            times=times,
            path=options.results / f"{name}.md",
            earlier=earlier,
            resume=options.resume,
        )
    except Broken as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


def bench(
    rows: Sequence[Row],
    *,
    scale: Scale,
    times: int,
    path: Path,
    earlier: Build | None = None,
    resume: bool = False,
) -> int:
    """Measure, write and print; return the exit status. Ctrl-C leaves the results so far."""
    unfinished = path.with_name(f"{path.stem}-unfinished.md")
    about = {**machine.description(), "load before": f"{machine.load():.1f}", "runs": str(times)}
    if earlier:
        about["earlier"] = earlier.commit
    results = report.read(unfinished, scale, about) if resume else Results()

    def save() -> None:
        report.write(unfinished, rows, results, scale, about)

    try:
        runs.run(
            rows,
            results,
            scale=scale,
            runs=times,
            cache=runs.cache_folder(),
            earlier=earlier,
            save=save,
        )
    except KeyboardInterrupt:
        print(f"bench: interrupted; {unfinished} has what was measured", file=sys.stderr)
        return INTERRUPTED
    report.write(path, rows, results, scale, about)
    report.remove(unfinished)
    print(report.markdown(rows, results, scale, about))
    print(f"bench: written to {path}", file=sys.stderr)
    for fault in results.faults:
        print(f"bench: {fault.cell}, run {fault.run}: {fault.reason}", file=sys.stderr)
    return 1 if any(fault.ours for fault in results.faults) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

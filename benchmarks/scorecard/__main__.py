"""`./run scorecard`: the same faults for Carillon and its peers, and a table of the losses."""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from benchmarks import machine  # noqa: E402
from benchmarks.processes import ROOT, Broken  # noqa: E402
from benchmarks.scorecard.contestants import CONTESTANTS, Contestant, delete_databases  # noqa: E402
from benchmarks.scorecard.report import Report, summary  # noqa: E402
from benchmarks.scorecard.run import RECOVERY_SECONDS, run_scenario  # noqa: E402
from benchmarks.scorecard.scenarios import SCENARIOS, Scenario  # noqa: E402

INTERRUPTED = 130
RESULTS = ROOT / "benchmarks" / "results"

DESCRIPTION = """\
Runs the same faults against Carillon, django-eventstream and nchan, each at its documented best,
with two workers and its own Redis: connections are cut, servers and Redis are killed, stopped and
filled, while events are published. Writes a table of the events that subscribers missed or received
twice or out of order, and of the outcomes that publishers received. It takes about five minutes.
"""


def command_line() -> argparse.ArgumentParser:
    scenarios = "\n".join(f"  {each.name:20}{each.title}" for each in SCENARIOS)
    contestants = "\n".join(f"  {each.name:20}{each.configuration}" for each in CONTESTANTS)
    parser = argparse.ArgumentParser(
        prog="./run scorecard",
        description=DESCRIPTION,
        epilog=f"scenarios:\n{scenarios}\n\npeers:\n{contestants}\n\n"
        "It needs redis-server, and nginx with nchan to be compared with that:\n"
        "  apt install redis-server nginx libnginx-mod-nchan\n\n"
        "The exit status is 1 if Carillon lost, repeated, disordered or wrongly refused any event.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [each.name for each in (*SCENARIOS, *CONTESTANTS)]
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=names,
        metavar="NAME",
        help="a peer or a scenario; may be repeated",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder for the table")
    parser.add_argument("--logs", type=Path, help="keep the logs of the servers in this folder")
    return parser


def main(arguments: Sequence[str]) -> int:
    options = command_line().parse_args(arguments)
    if shutil.which("redis-server") is None:
        log("redis-server is not installed: apt install redis-server")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    scenarios = [each for each in SCENARIOS if each.name in options.only] or list(SCENARIOS)
    contestants = [each for each in CONTESTANTS if each.name in options.only] or list(CONTESTANTS)
    # Only a whole run overwrites the file that the documentation quotes.
    name = "scorecard-some" if options.only else "scorecard"
    report = Report(scenarios, contestants)
    folder = options.logs or Path(tempfile.mkdtemp(prefix="carillon-scorecard-"))
    try:
        return score(report, folder=folder, path=options.results / f"{name}.md")
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        delete_databases()
        if options.logs is None:
            shutil.rmtree(folder, ignore_errors=True)


def score(report: Report, *, folder: Path, path: Path) -> int:
    """Run all scenarios, write and print the report; return the exit status."""
    for contestant in report.contestants:
        if reason := contestant.missing():
            report.absent[contestant.name] = reason
            log(f"{contestant.name} is left out: {reason}")
    about = {**machine.description(), "load before": f"{machine.load():.1f}"}
    asyncio.run(run(report, folder))
    text = report.markdown(about, recovery_seconds=RECOVERY_SECONDS)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(text)
    log(f"written to {path}")
    losses = report.losses()
    for loss in losses:
        log(f"Carillon FAILED {loss}")
    return 1 if losses else 0


async def run(report: Report, folder: Path) -> None:
    """One scenario after the other, each with all contestants at once: most of it is waiting."""
    present = [each for each in report.contestants if each.name not in report.absent]
    began = time.monotonic()
    for number, scenario in enumerate(report.scenarios, 1):
        log(
            f"[{number}/{len(report.scenarios)}, {time.monotonic() - began:.0f} s] {scenario.title}"
        )
        async with asyncio.TaskGroup() as tasks:
            for each in present:
                tasks.create_task(
                    _run(report, scenario, each, folder / f"{scenario.name}-{each.name}")
                )


async def _run(report: Report, scenario: Scenario, contestant: Contestant, folder: Path) -> None:
    key = scenario.name, contestant.name
    try:
        report.verdicts[key] = verdict = await run_scenario(contestant, scenario.steps, folder)
    except Broken as error:
        report.broken[key] = str(error)
        log(f"    {contestant.name}: could not be run: {error}")
        return
    log(f"    {contestant.name}: {summary(verdict)}")
    for violation in verdict.violations[:5]:
        log(f"    {violation}")


def log(text: str) -> None:
    print(f"scorecard: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

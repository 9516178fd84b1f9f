"""`./run scorecard`: the same faults for Carillon and its peers, and who held what."""

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
from benchmarks.scorecard import report as cards  # noqa: E402
from benchmarks.scorecard.contestants import CONTESTANTS, Contestant, forget_databases  # noqa: E402
from benchmarks.scorecard.report import Card  # noqa: E402
from benchmarks.scorecard.run import RECOVERY, hold  # noqa: E402
from benchmarks.scorecard.scenarios import SCENARIOS, Scenario  # noqa: E402

INTERRUPTED = 130
RESULTS = ROOT / "benchmarks" / "results"

DESCRIPTION = """\
Does the same to Carillon, to django-eventstream and to nchan, each at its documented best, with two
workers and a Redis of its own: connections, servers and Redis are cut, killed, stopped and filled
while events are published. Writes a table of what subscribers missed, got twice or out of order,
and of what publishers were told. About five minutes.
"""


def parser() -> argparse.ArgumentParser:
    scenarios = "\n".join(f"  {each.name:20}{each.title}" for each in SCENARIOS)
    contestants = "\n".join(f"  {each.name:20}{each.configuration}" for each in CONTESTANTS)
    made = argparse.ArgumentParser(
        prog="./run scorecard",
        description=DESCRIPTION,
        epilog=f"scenarios:\n{scenarios}\n\npeers:\n{contestants}\n\n"
        "It needs redis-server, and nginx with nchan to be compared with that:\n"
        "  apt install redis-server nginx libnginx-mod-nchan\n\n"
        "The exit status is 1 where Carillon lost, repeated or disordered anything, or lied.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [each.name for each in (*SCENARIOS, *CONTESTANTS)]
    made.add_argument(
        "--only",
        action="append",
        default=[],
        choices=names,
        metavar="NAME",
        help="a peer or a scenario; may be repeated",
    )
    made.add_argument("--results", type=Path, default=RESULTS, help="the folder for the table")
    made.add_argument("--logs", type=Path, help="keep what the servers said in this folder")
    return made


def main(arguments: Sequence[str]) -> int:
    given = parser().parse_args(arguments)
    if shutil.which("redis-server") is None:
        say("there is no redis-server: apt install redis-server")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    scenarios = [each for each in SCENARIOS if each.name in given.only] or list(SCENARIOS)
    contestants = [each for each in CONTESTANTS if each.name in given.only] or list(CONTESTANTS)
    # What is quoted elsewhere is a whole run.
    name = "scorecard-some" if given.only else "scorecard"
    card = Card(scenarios, contestants)
    folder = given.logs or Path(tempfile.mkdtemp(prefix="carillon-scorecard-"))
    try:
        return score(card, folder=folder, path=given.results / f"{name}.md")
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        forget_databases()
        if given.logs is None:
            shutil.rmtree(folder, ignore_errors=True)


def score(card: Card, *, folder: Path, path: Path) -> int:
    """Run all of it, write and print; the exit status."""
    for contestant in card.contestants:
        if reason := contestant.missing():
            card.absent[contestant.name] = reason
            say(f"{contestant.name} is left out: {reason}")
    about = {**machine.described(), "load before": f"{machine.load():.1f}"}
    asyncio.run(run(card, folder))
    text = cards.markdown(card, about, recovery=RECOVERY)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(text)
    say(f"written to {path}")
    losses = card.losses()
    for loss in losses:
        say(f"Carillon FAILED {loss}")
    return 1 if losses else 0


async def run(card: Card, folder: Path) -> None:
    """Scenario by scenario, in each all contestants side by side: most of it is waiting."""
    present = [each for each in card.contestants if each.name not in card.absent]
    began = time.monotonic()
    for number, scenario in enumerate(card.scenarios, 1):
        say(f"[{number}/{len(card.scenarios)}, {time.monotonic() - began:.0f} s] {scenario.title}")
        async with asyncio.TaskGroup() as tasks:
            for each in present:
                tasks.create_task(
                    _one(card, scenario, each, folder / f"{scenario.name}-{each.name}")
                )


async def _one(card: Card, scenario: Scenario, contestant: Contestant, folder: Path) -> None:
    at = scenario.name, contestant.name
    try:
        card.verdicts[at] = verdict = await hold(contestant, scenario.play, folder)
    except Broken as error:
        card.broken[at] = str(error)
        say(f"    {contestant.name}: could not be run: {error}")
        return
    say(f"    {contestant.name}: {cards.summary(verdict)}")
    for violation in verdict.violations[:5]:
        say(f"    {violation}")


def say(text: str) -> None:
    print(f"scorecard: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

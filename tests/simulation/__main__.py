"""`./run simulate`: runs worlds from seeds, and tells what failed as a short story."""

import argparse
import os
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from tests.simulation.mutations import MUTATIONS, seed_that_finds  # noqa: E402
from tests.simulation.plan import plan_of  # noqa: E402
from tests.simulation.plans import FOUND, dumps  # noqa: E402
from tests.simulation.run import Result, run  # noqa: E402
from tests.simulation.shrink import shrunk  # noqa: E402

SEEDS_AT_ONCE = 25
PROGRESS_SECONDS = 60.0
FRESH_SEEDS = 10**9


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds (200)")
    parser.add_argument("--first", type=int, help="the first of them (any)")
    parser.add_argument("--seconds", type=float, help="stop after so long")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the work (1)")
    parser.add_argument("--seed", type=int, help="run this one, and print its story")
    parser.add_argument("--add", action="store_true", help="add failures to tests/simulation/found")
    parser.add_argument(
        "--mutations", action="store_true", help="find every planted fault, each by --seeds"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    if options.mutations:
        return find_mutations(options.seeds)
    if options.seed is not None:
        return replay(options.seed, add=options.add)
    first = secrets.randbelow(FRESH_SEEDS) if options.first is None else options.first
    return search(first, options)


def replay(seed: int, *, add: bool) -> int:
    result = run(plan_of(seed))
    for line in result.story:
        print(line)
    print(f"{result.digest} {result.seconds:.0f} s, {result.delivered} blocks were delivered")
    if result.violations:
        report(result, add=add)
    return bool(result.violations)


def search(first: int, options: argparse.Namespace) -> int:
    print(f"seeds from {first}", flush=True)
    began = printed = time.monotonic()
    done, simulated, failed = 0, 0.0, 0
    with suppress(KeyboardInterrupt):
        for seed, seconds, fails in _results(first, options, began):
            done, simulated = done + 1, simulated + seconds
            if time.monotonic() - printed > PROGRESS_SECONDS:
                printed = time.monotonic()
                print(f"{done} of {options.seeds}, {failed} failed", flush=True)
            if fails:
                failed += 1
                print(f"seed {seed} fails", flush=True)
                report(run(plan_of(seed)), add=options.add)
    took = time.monotonic() - began
    print(
        f"{done} seeds, {failed} failed; {took:.0f} s, {done / took:.1f} seeds a second, "
        f"{simulated / took / 60:.1f} simulated hours a minute"
    )
    return bool(failed)


def _results(
    first: int, options: argparse.Namespace, began: float
) -> Iterator[tuple[int, float, bool]]:
    ranges = [
        (start, min(start + SEEDS_AT_ONCE, first + options.seeds))
        for start in range(first, first + options.seeds, SEEDS_AT_ONCE)
    ]
    with ProcessPoolExecutor(options.jobs) as pool:
        results = map(_run_range, ranges) if options.jobs == 1 else pool.map(_run_range, ranges)
        for each in results:
            yield from each
            if options.seconds and time.monotonic() - began > options.seconds:
                pool.shutdown(cancel_futures=True)
                return


def _run_range(seeds: tuple[int, int]) -> list[tuple[int, float, bool]]:
    results = []
    for seed in range(*seeds):
        result = run(plan_of(seed))
        results.append((seed, result.seconds, bool(result.violations)))
    return results


def report(result: Result, *, add: bool) -> None:
    """The shortest story with the same violation."""
    short = shrunk(result)
    print(f"\nseed {result.plan.seed}, with {len(short.plan.steps)} of its steps:\n")
    for line in short.story:
        print(line)
    for violation in short.violations:
        print(violation)
    if add:
        (FOUND / f"seed_{result.plan.seed}.json").write_text(dumps(short.plan))


def find_mutations(seeds: int) -> int:
    missed = 0
    for name in MUTATIONS:
        found = seed_that_finds(name, range(seeds))
        missed += found is None
        print(f"{'MISSED' if found is None else found}: {name}", flush=True)
    print(f"{len(MUTATIONS) - missed} of {len(MUTATIONS)} planted faults were found")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

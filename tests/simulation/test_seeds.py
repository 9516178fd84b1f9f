"""The real code in simulated worlds: nothing that was promised breaks, whatever meets whatever."""

from pathlib import Path

import pytest

from tests.harness.warm import ENVIRONMENT, run_python
from tests.simulation.mutations import planted
from tests.simulation.plan import plan_of
from tests.simulation.plans import FOUND, dumps, loads
from tests.simulation.run import run
from tests.simulation.shrink import shrunk

SEEDS = 50
FAILING = "a keep-alive names the head"


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_seeds(first: int) -> None:
    for seed in range(first, first + 10):
        result = run(plan_of(seed))
        assert result.violations == [], f"./run simulate --seed {seed}"
        assert result.delivered


@pytest.mark.parametrize("path", sorted(FOUND.glob("*.json")), ids=lambda path: path.stem)
def test_what_a_simulation_found_is_mended(path: Path) -> None:
    assert run(loads(path.read_text())).violations == []


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_seed_has_one_story(hash_seed: str) -> None:
    """Whatever the process: addresses and the order of sets differ between processes."""
    env = {**ENVIRONMENT, "PYTHONHASHSEED": hash_seed}
    ended = run_python("-m", "tests.simulation", "--seed", "3", env=env, timeout=60)
    assert run(plan_of(3)).digest in ended.stdout.splitlines()[-1], ended.stderr


def test_a_failure_becomes_a_short_story() -> None:
    with planted([FAILING]):
        seed = SEED_OF[FAILING]
        result = run(plan_of(seed))
        short = shrunk(result)
    assert short.violations
    assert len(short.plan.steps) < len(result.plan.steps) / 2
    assert loads(dumps(short.plan)) == short.plan


SEED_OF = {
    "a keep-alive names the head": 131,
    "a laggard is taken as caught up": 0,
    "a busy transport loses the chunk": 0,
    "a chunk is written to who has it": 9,
    "settled before the fan-out is over": 0,
    "a new window without a reset": 3,
    "the opening of a resume names the head": 2,
    "the epoch of a cursor is not compared": 3,
    "a trimmed cursor is accepted": 9,
    "what fell off the window is skipped": 18,
    "the predecessor is not checked": 17,
    "the log is not checked": 496,
    "acknowledged positions are not compared": 160,
    "idempotency keys are not read": 215,
    "a repetition does not search": 17,
    "the answers of a group are mixed up": 0,
    "an entry does not name its predecessor": 0,
}
"""A seed that finds each planted fault: `./run simulate --mutations` prints them."""


@pytest.mark.parametrize("name", SEED_OF)
def test_every_planted_fault_is_found(name: str) -> None:
    with planted([name]):
        assert run(plan_of(SEED_OF[name])).violations, "./run simulate --mutations"

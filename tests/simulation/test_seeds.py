"""The real code in simulated worlds: nothing that was promised breaks, whatever meets whatever."""

from pathlib import Path

import pytest

from tests.harness.warm import ENVIRONMENT, run_python
from tests.simulation.mutations import MUTATIONS, planted, seed_that_finds
from tests.simulation.plan import plan_of
from tests.simulation.plans import FOUND, dumps, loads
from tests.simulation.run import run
from tests.simulation.shrink import shrunk

SEEDS = 50
MORE_SEEDS = 2_000
FAILING = "the predecessor is not checked"


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


@pytest.mark.timeout(400)
def test_a_failure_becomes_a_short_story() -> None:
    with planted([FAILING]):
        seed = SEED_OF[FAILING]
        result = run(plan_of(seed))
        short = shrunk(result)
    assert short.violations
    assert len(short.plan.steps) < len(result.plan.steps) / 2
    assert loads(dumps(short.plan)) == short.plan


SEED_OF = {
    "a keep-alive names the head": 163,
    "a laggard is taken as caught up": 0,
    "a busy transport loses the chunk": 0,
    "a chunk is written to who has it": 11,
    "settled before the fan-out is over": 0,
    "a new window without a reset": 2,
    "the opening of a resume names the head": 0,
    "the epoch of a cursor is not compared": 149,
    "a trimmed cursor is accepted": 9,
    "what fell off the window is skipped": 18,
    "the predecessor is not checked": 2,
    "the log is not checked": 1499,
    "acknowledged positions are not compared": 775,
    "a repetition does not search": 17,
    "the answers of a group are mixed up": 1,
    "idempotency keys are not read": 76,
    "an entry does not name its predecessor": 0,
    "control entries come after the events": 56,
    "control entries are not applied": 0,
    "a control entry is outrun by a new grant": 189,
    "a control entry is outrun by a continued grant": 994,
    "a row is removed before it is published": 3,
    "the relay names no idempotency key": 109,
    "nobody is rechecked": 72,
    "a late first attempt is kept": 1094,
}
"""A seed that finds each planted fault, so that others need not be searched as long as the code
does the same in the same order. `./run simulate --mutations` prints them."""


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_planted_fault_is_found(name: str) -> None:
    assert seed_that_finds(name, (SEED_OF[name], *range(MORE_SEEDS))) is not None

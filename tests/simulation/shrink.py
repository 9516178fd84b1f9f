"""Shortens a plan that fails to the steps that it needs, so that a person can read it."""

from collections.abc import Callable, Sequence

from tests.simulation.plan import Plan, Step
from tests.simulation.run import Result, run

MAX_RUNS = 400


def shrunk(result: Result, *, run_plan: Callable[[Plan], Result] = run) -> Result:
    """A result with one of the same violations, from as few steps as were found (delta debugging).

    The randomness of what is left is the same, except that less of it is used.
    """
    kinds = {violation.kind for violation in result.violations}
    runs = 0

    def attempt(steps: Sequence[Step]) -> Result | None:
        nonlocal runs
        runs += 1
        shorter = run_plan(result.plan.with_steps(steps))
        return shorter if any(each.kind in kinds for each in shorter.violations) else None

    best = result
    size = max(1, len(best.plan.steps) // 2)
    while runs < MAX_RUNS:
        start, removed = 0, False
        while start < len(best.plan.steps) and runs < MAX_RUNS:
            steps = best.plan.steps
            shorter = attempt((*steps[:start], *steps[start + size :]))
            if shorter is None:
                start += size
            else:
                best, removed = shorter, True
        if size == 1 and not removed:
            break
        size = max(1, size // 2)
    return best

"""Runs a plan in a world of its own, and checks it."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random
from unittest.mock import MagicMock, patch

from notifications.hub import encoders, runtime
from notifications.publishing.outbox import relay
from notifications.telemetry.logs import logger
from tests.simulation.checks import Violation, all_have_everything, violations
from tests.simulation.plan import ACTIVE_SECONDS, Plan
from tests.simulation.site import Site
from tests.simulation.world import Stuck, without_garbage_collection

QUIET_SECONDS, HEALED_SECONDS = 2.0, 14.0
"""After the last step: the least time until the end, and the time within which all must be well."""


@dataclass(frozen=True, slots=True)
class Result:
    """`digest`: of all that happened; the same plan has the same."""

    plan: Plan
    violations: list[Violation]
    story: list[str]
    digest: str
    seconds: float
    delivered: int


@contextmanager
def _isolated(seed: int) -> Iterator[None]:
    """Without what real processes run beside the hub, and with the world's randomness.

    Not by seeding that of Python: other threads of this process may use it, too.
    """
    random = Random(f"{seed} code")
    level = logger.logger.level
    with ExitStack() as stack:
        stack.enter_context(patch.object(runtime, "services", []))
        stack.enter_context(patch.object(runtime, "control_observers", []))
        stack.enter_context(patch.object(runtime, "is_available", lambda: False))
        stack.enter_context(patch.object(relay, "open_relay_log", lambda settings: None))
        stack.enter_context(patch.object(relay, "connections", MagicMock()))
        stack.enter_context(patch.object(relay, "random", random))
        stack.enter_context(patch.object(encoders, "random", random))
        # redis-py would read its own metadata from the disk for each connection.
        stack.enter_context(patch("redis.utils.get_lib_version", lambda: "0"))
        logger.logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.logger.setLevel(level)


def run(plan: Plan) -> Result:
    with _isolated(plan.seed):
        result: Result = without_garbage_collection(lambda: _run(plan))
    return result


def _run(plan: Plan) -> Result:
    site = Site(plan)
    with patch.object(relay, "table", site.outbox):
        return _run_site(site)


def _run_site(site: Site) -> Result:
    try:
        site.world.run(ACTIVE_SECONDS + QUIET_SECONDS)
        while (site.world.now < ACTIVE_SECONDS + HEALED_SECONDS) and not all_have_everything(site):
            site.world.run(site.world.now + 1)
        found = violations(site)
    except Stuck as stuck:
        found = [Violation("livelock", str(stuck))]
    story = _story(site)
    result = Result(
        site.plan,
        found,
        story,
        hashlib.sha256("\n".join(story).encode()).hexdigest()[:16],
        site.world.now,
        sum(len(browser.received) for browser in site.browsers),
    )
    site.world.end()
    for thread in site.outbox.threads:
        thread.end()
    return result


def _story(site: Site) -> list[str]:
    """Who did what, in order, and what the subscribers were given."""
    lines = [(float(line.split()[0]), line) for line in site.story]
    for browser in site.browsers:
        for when, event in browser.received:
            what = event.type if event.type.startswith("stream.") else f"#{event.data.rstrip('.')}"
            more = f" {event.data}" if event.type == "stream.reset" else ""
            lines.append((when, f"{when:9.4f}  {browser.name} got {what}{more} {event.id}"))
    return [line for _, line in sorted(lines, key=lambda pair: pair[0])]

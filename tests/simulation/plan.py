"""Plans: who does what, and when, in a world. A plan follows from a seed, and is plain data.

A plan can be shortened and run again: what a step does depends on its own numbers alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

ACTIVE_SECONDS = 6.0
TOPICS = ("news", "chat", "jobs", "user.a", "user.b")
USERS = ("a", "b")


@dataclass(frozen=True, slots=True)
class Step:
    """`act` names a method of `Site`, which gets `arguments`."""

    at: float
    act: str
    arguments: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.at:8.3f} s  {self.act}({', '.join(map(repr, self.arguments))})"


@dataclass(frozen=True, slots=True)
class Plan:
    """`slowness`: for each process, by how much its network is slower than the fastest.

    `browsers`: for each its topics and its user.
    """

    seed: int
    slowness: tuple[float, ...]
    browsers: tuple[tuple[tuple[str, ...], str | None], ...]
    history_events: int
    max_stream_age: float
    steps: tuple[Step, ...]
    relays: int = 0
    """How many processes relay the outbox."""

    def with_steps(self, steps: Sequence[Step]) -> "Plan":
        return replace(self, steps=tuple(steps))


class _Planner:
    """Most happens around a few `moments`, since faults must meet to do harm together."""

    def __init__(
        self, random: Random, processes: int, browsers: int, moments: Sequence[float]
    ) -> None:
        self.random = random
        self.processes = processes
        self.browsers = browsers
        self.moments = moments

    def moment(self) -> float:
        scale = self.random.choice((0.002, 0.02, 0.2, 1))
        at = self.random.choice(self.moments) + self.random.gauss(0, scale)
        return min(max(at, 0.3), ACTIVE_SECONDS)

    @property
    def process(self) -> int:
        return self.random.randrange(self.processes)

    @property
    def browser(self) -> int:
        return self.random.randrange(self.browsers)

    def seconds(self, least: float, most: float) -> float:
        return round(self.random.uniform(least, most), 3)

    def user(self) -> str:
        return self.random.choice(USERS)


type Arguments = tuple[Any, ...]

FAULTS: dict[str, tuple[int, Callable[[_Planner], Arguments]]] = {
    # Of processes
    "kill": (3, lambda p: (p.process, p.seconds(0.01, 2))),
    "freeze": (3, lambda p: (p.process, p.seconds(0.01, 3))),
    "restart": (2, lambda p: (p.process, p.seconds(0, 1.5))),
    "set_clock": (1, lambda p: (p.process, p.seconds(-60, 60))),
    # Of the network between them and Redis
    "cut_off": (3, lambda p: (p.process, p.seconds(0.01, 3))),
    "break_connections": (4, lambda p: (p.process,)),
    "slow_network": (1, lambda p: (p.random.choice((10, 100, 1000)), p.seconds(0.1, 2))),
    # Of Redis
    "stop_redis": (2, lambda p: (p.seconds(0.01, 3),)),
    "freeze_redis": (2, lambda p: (p.seconds(0.01, 3),)),
    "refuse": (2, lambda p: (p.random.choice(("full", "replica", "loading")), p.seconds(0.1, 2))),
    "forget_scripts": (1, lambda p: ()),
    # Of browsers
    "leave": (6, lambda p: (p.browser,)),
    "stall": (4, lambda p: (p.browser, p.seconds(0.1, 5))),
    # Of permissions
    "kick": (2, lambda p: (p.process, p.user())),
    "recheck_all": (1, lambda p: (p.process,)),
    "revoke": (3, lambda p: (p.process, p.user(), p.random.choice(("end", "recheck")))),
    "revoke_while_asked": (
        2,
        lambda p: (p.process, p.user(), p.random.choice(("end", "recheck"))),
    ),
    "database_away": (1, lambda p: (p.seconds(0.1, 3),)),
}
"""How often, and with which arguments."""

LOSSES: dict[str, tuple[int, Callable[[_Planner], Arguments]]] = {
    "lose_tail": (4, lambda p: (p.random.randint(1, 6), p.seconds(0.01, 1))),
    "fail_over": (4, lambda p: (p.random.randint(1, 6),)),
    "fail_over_at_acknowledgement": (3, lambda p: (p.random.randint(1, 2),)),
    "restore_backup": (2, lambda p: (p.seconds(0.1, 5), p.seconds(0.01, 1))),
    "flush": (2, lambda p: ()),
    "lose_everything": (1, lambda p: (p.seconds(0.01, 1),)),
}
CLOCK_FAULTS: dict[str, tuple[int, Callable[[_Planner], Arguments]]] = {
    "set_redis_clock": (1, lambda p: (p.random.choice((-5000, -500, -20, 300, 3000)),)),
}
"""In no world with losses: there, positions would be given out again (docs/reliability.md)."""


def plan_of(seed: int) -> Plan:
    random = Random(f"{seed} plan")
    processes = random.randint(2, 4)
    browsers = tuple(_browser(random) for _ in range(random.randint(2, 4)))
    moments = [random.uniform(0.5, ACTIVE_SECONDS) for _ in range(random.randint(1, 3))]
    planner = _Planner(random, processes, len(browsers), moments)
    steps = [*_publications(planner), *_faults(planner)]
    relaying = _Planner(Random(f"{seed} outbox"), processes, len(browsers), moments)
    away = _Planner(Random(f"{seed} away"), processes, len(browsers), moments)
    if away.random.random() < 0.15:
        arguments = (away.process, away.user(), away.random.choice(("end", "recheck")))
        steps.append(Step(round(away.moment(), 4), "revoke_while_away", arguments))
    relays = relaying.random.choice((0, 1, 2))
    if relays:
        steps += _transactions(relaying)
    return Plan(
        seed=seed,
        slowness=tuple(random.choice((1, 1, 1, 10, 50)) for _ in range(processes)),
        browsers=browsers,
        history_events=random.choice((5, 20, 200)),
        max_stream_age=random.choice((0, 0, 3)),
        steps=tuple(sorted(steps, key=lambda step: step.at)),
        relays=relays,
    )


def _browser(random: Random) -> tuple[tuple[str, ...], str | None]:
    if random.random() < 0.5:
        user = random.choice(USERS)
        return (f"user.{user}", "news"), user
    topics = random.sample(("news", "chat", "jobs"), random.randint(1, 3))
    return tuple(sorted(topics)), None


def _publications(planner: _Planner) -> list[Step]:
    random, steps = planner.random, []
    for _ in range(random.randint(3, 30)):
        at = planner.moment() if random.random() < 0.6 else random.uniform(0.5, ACTIVE_SECONDS)
        for _ in range(random.choice((1, 1, 1, 2, 5))):  # at the same moment
            count = random.choice((1, 1, 1, 2, 5))
            topics = tuple(random.sample(TOPICS, random.choice((1, 1, 2))))
            size = random.choice((0, 0, 0, 300, 2_000))
            keyed = random.random() < 0.3
            arguments = (planner.process, topics, count, size, keyed)
            steps.append(Step(round(at, 4), "publish", arguments))
    return steps


def _transactions(planner: _Planner) -> list[Step]:
    random, steps = planner.random, []
    for _ in range(random.randint(1, 8)):
        topics = tuple(random.sample(TOPICS, random.choice((1, 2))))
        step = Step(round(planner.moment(), 4), "write_outbox", (topics, random.randint(1, 4)))
        steps.append(step)
    return steps


def _faults(planner: _Planner) -> list[Step]:
    random = planner.random
    kinds = dict(FAULTS)
    kinds |= random.choice(({}, LOSSES, CLOCK_FAULTS))
    # A world has a few kinds of faults, so that any two of them meet often.
    names = random.sample(list(kinds), random.randint(1, 6))
    weights = [kinds[name][0] for name in names]
    steps = []
    for _ in range(random.randint(1, 12)):
        [name] = random.choices(names, weights)
        step = Step(round(planner.moment(), 4), name, kinds[name][1](planner))
        steps.append(step)
        if name == "revoke":
            steps += _around_revocation(planner, step)
    return steps


def _around_revocation(planner: _Planner, revocation: Step) -> list[Step]:
    """Events that the user must not have any more, and streams that come back at that moment."""
    random, steps = planner.random, []
    user = revocation.arguments[1]
    for _ in range(random.randint(0, 4)):
        at = max(0.3, revocation.at + random.uniform(-0.01, 0.3))
        arguments = (planner.process, (f"user.{user}",), 1, 0, False)
        steps.append(Step(round(at, 4), "publish", arguments))
    for _ in range(random.randint(0, 2)):
        at = max(0.3, revocation.at - random.uniform(0, random.choice((0.05, 0.2, 0.8))))
        steps.append(Step(round(at, 4), "leave", (planner.browser,)))
    return steps

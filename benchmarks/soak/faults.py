"""Random faults, in rounds of up to three, and a check of everything after each round."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from benchmarks.soak.memory import MemoryWatch
from tests.harness.load import Load
from tests.harness.redis_faults import DISTURBANCES, LOSSES, OUTAGES
from tests.harness.service import Service, kill_worker, restart, stopped_worker

SHORT_SECONDS = 0.2, 4.0
LONG_SECONDS = 60.0
LONG_PROBABILITY = 0.02


class RandomFaults:
    """Applies rounds of one to three faults, and stops at the first violation."""

    def __init__(
        self,
        service: Service,
        load: Load,
        chance: random.Random,
        log: Callable[[str], None],
        *,
        memory: MemoryWatch,
    ) -> None:
        self.violations: list[str] = []
        self.acknowledged = self.unknown = self.refused = self.resets = self.faults = 0
        self._service = service
        self._load = load
        self._chance = chance
        self._log = log
        self._memory = memory

    async def run(self, *, seconds: float) -> None:
        until = time.monotonic() + seconds
        number = 0
        while time.monotonic() < until and not self.violations:
            number += 1
            lossy = False
            for _ in range(self._chance.randint(1, 3)):
                lossy = await self._fault(may_be_long=seconds > 5 * LONG_SECONDS) or lossy
            await self._check(number, lossy=lossy)

    async def _fault(self, *, may_be_long: bool) -> bool:
        """Apply a fault; whether events may be lost by it."""
        self.faults += 1
        faulty_redis = self._service.faulty_redis
        kind = self._chance.choices(
            ["outage", "disturbance", "loss", "process", "client"], [6, 4, 1, 4, 3]
        )[0]
        if kind == "outage":
            name = self._chance.choice(list(OUTAGES))
            await self._outage(name, OUTAGES[name](faulty_redis), may_be_long=may_be_long)
        elif kind == "disturbance":
            name = self._chance.choice(list(DISTURBANCES))
            await self._incident(name, partial(DISTURBANCES[name], faulty_redis))
        elif kind == "loss":
            name = self._chance.choice(list(LOSSES))
            await self._incident(name, partial(LOSSES[name], faulty_redis))
            return True
        elif kind == "process":
            await self._process_fault()
        else:
            subscriber = self._chance.choice(self._load.subscribers)
            self._log(f"{subscriber.observation.name} loses its connection")
            subscriber.cut()
        return False

    async def _process_fault(self) -> None:
        name = self._chance.choice(["kill", "restart", "stop"])
        if name == "stop":
            fault = stopped_worker(self._service, self._chance)
            await self._outage("a worker stopped", fault, may_be_long=False)
        elif name == "kill":
            kill = partial(kill_worker, self._service, self._chance)
            await self._incident("kill -9 of a worker", kill)
        else:
            await self._incident("rolling restart", partial(restart, self._service))

    async def _outage(
        self, name: str, fault: AbstractContextManager[None], *, may_be_long: bool
    ) -> None:
        """A fault that lasts for a while."""
        is_long = self._chance.random() < LONG_PROBABILITY
        seconds = LONG_SECONDS if may_be_long and is_long else self._chance.uniform(*SHORT_SECONDS)
        self._log(f"{name}, for {seconds:.1f} s")
        await asyncio.to_thread(fault.__enter__)
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(fault.__exit__, None, None, None)

    async def _incident(self, name: str, fault: Callable[[], None]) -> None:
        """A fault that is over at once."""
        self._log(name)
        await asyncio.to_thread(fault)
        await asyncio.sleep(self._chance.uniform(0, 0.5))

    async def _check(self, number: int, *, lossy: bool) -> None:
        load = self._load
        try:
            async with load.quiet():
                self._count(lossy=lossy)
        except TimeoutError:
            self.violations += load.violations() or [
                "A subscriber does not receive what is published, or nothing can be published."
            ]
            observations = [each.observation for each in load.subscribers]
            self.violations += [f"{each.name} at {each.cursor}" for each in observations]
        self.violations += self._memory.violations()
        self._log(
            f"round {number}: {self.acknowledged} acknowledged so far, {self.unknown} unknown, "
            f"{self.refused} refused, {self.resets} resets: "
            + (f"{len(self.violations)} VIOLATIONS" if self.violations else "no violation")
        )

    def _count(self, *, lossy: bool) -> None:
        load = self._load
        self.violations += load.violations()
        for subscriber in load.subscribers:
            resets = subscriber.observation.resets
            self.resets += len(resets)
            if resets and not lossy:
                name = subscriber.observation.name
                self.violations.append(f"{name}: {resets}, and nothing was lost")
        outcomes = [each.outcome for each in load.published]
        self.acknowledged += outcomes.count("acknowledged")
        load.forget()
        self.unknown = outcomes.count("unknown")
        self.refused = outcomes.count("not_sent")

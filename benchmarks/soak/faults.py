"""Random faults, one after the other or two at once, and a look at everything in between."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from tests.harness.crowd import Crowd
from tests.harness.redis_faults import DISTURBANCES, LOSSES, OUTAGES
from tests.harness.service import Service, kill_worker, restart, stopped_worker

SHORT = 0.2, 4.0
LONG = 60.0
RARELY = 0.02

type Say = Callable[[str], None]


class Storm:
    """Rounds of one to three faults. What is wrong is kept in `violations`."""

    def __init__(self, service: Service, people: Crowd, chance: random.Random, say: Say) -> None:
        self.violations: list[str] = []
        self.published = self.unknown = self.refused = self.resets = self.faults = 0
        self._service = service
        self._people = people
        self._chance = chance
        self._say = say

    async def rage(self, *, seconds: float) -> None:
        until = time.monotonic() + seconds
        number = 0
        while time.monotonic() < until and not self.violations:
            number += 1
            lossy = False
            for _ in range(self._chance.randint(1, 3)):
                lossy = await self._fault(patient=seconds > 5 * LONG) or lossy
            await self._look(number, lossy=lossy)

    async def _fault(self, *, patient: bool) -> bool:
        """Whether events may be gone by it."""
        self.faults += 1
        kind = self._chance.choices(
            ["outage", "disturbance", "loss", "process", "client"], [6, 4, 1, 4, 3]
        )[0]
        if kind == "outage":
            name = self._chance.choice(list(OUTAGES))
            await self._last(name, OUTAGES[name](self._service.place), patient=patient)
        elif kind == "disturbance":
            name = self._chance.choice(list(DISTURBANCES))
            await self._at_once(name, partial(DISTURBANCES[name], self._service.place))
        elif kind == "loss":
            name = self._chance.choice(list(LOSSES))
            await self._at_once(name, partial(LOSSES[name], self._service.place))
            return True
        elif kind == "process":
            await self._process()
        else:
            listener = self._chance.choice(self._people.listeners)
            self._say(f"{listener.heard.name} loses its connection")
            listener.cut()
        return False

    async def _process(self) -> None:
        name = self._chance.choice(["kill", "restart", "stop"])
        if name == "stop":
            fault = stopped_worker(self._service, self._chance)
            await self._last("a worker stopped", fault, patient=False)
        elif name == "kill":
            await self._at_once("kill -9 of a worker", self._with_chance(kill_worker))
        else:
            await self._at_once("rolling restart", self._with_chance(restart))

    def _with_chance(self, what: Callable[[Service, random.Random], None]) -> Callable[[], None]:
        return partial(what, self._service, self._chance)

    async def _last(self, name: str, fault: AbstractContextManager[None], *, patient: bool) -> None:
        long = self._chance.random() < RARELY
        seconds = LONG if patient and long else self._chance.uniform(*SHORT)
        self._say(f"{name}, for {seconds:.1f} s")
        await asyncio.to_thread(fault.__enter__)
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(fault.__exit__, None, None, None)

    async def _at_once(self, name: str, fault: Callable[[], None]) -> None:
        self._say(name)
        await asyncio.to_thread(fault)
        await asyncio.sleep(self._chance.uniform(0, 0.5))

    async def _look(self, number: int, *, lossy: bool) -> None:
        people = self._people
        try:
            async with people.silence():
                self._count(lossy=lossy)
        except TimeoutError:
            self.violations += people.violations() or ["Somebody was left behind, or nothing goes."]
            cursors = [f"{each.heard.name} at {each.heard.cursor}" for each in people.listeners]
            self.violations += cursors
        self._say(
            f"round {number}: {self.published} published so far, {self.unknown} unknown, "
            f"{self.refused} refused, {self.resets} resets: "
            + (f"{len(self.violations)} VIOLATIONS" if self.violations else "well")
        )

    def _count(self, *, lossy: bool) -> None:
        people = self._people
        self.violations += people.violations()
        for listener in people.listeners:
            resets = listener.heard.resets
            self.resets += len(resets)
            if resets and not lossy:
                self.violations.append(f"{listener.heard.name}: {resets}, and nothing was lost")
        outcomes = [each.outcome for each in people.published]
        self.published += outcomes.count("acknowledged")
        people.forget()
        self.unknown = outcomes.count("unknown")
        self.refused = outcomes.count("not_sent")

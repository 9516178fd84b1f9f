"""A process of the site: the real runtime, hub, enforcement and log client in a loop of its own."""

import json
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from django.db import OperationalError

from notifications.conf import Settings
from notifications.hub.grants import Continuable, Grant, topic_subject
from notifications.hub.runtime import Runtime
from notifications.hub.scheduling import TimeSlice, Timing
from notifications.hub.subscribers import Start
from notifications.log.acks import HighWaterMarks
from notifications.log.ended import EndedStream
from notifications.log.entries import EVERYONE
from notifications.log.factory import retention
from notifications.log.redis import RedisLog
from notifications.log.script import Slack
from tests.simulation.outbox import Outbox, RelayThread
from tests.simulation.world import Loop, World

if TYPE_CHECKING:
    from tests.simulation.network import Network
    from tests.simulation.permissions import Permissions
    from tests.simulation.streams import Browser, StreamTransport

IDEMPOTENCY_AGE_SECONDS = 600
REDIS_URL = "redis://redis:6379/0"
READY_SECONDS = 2.0
SLACK = Slack(events=8, controls=6, bytes=10_000, ms=2_000)
"""Little, so that a process that lags falls off the log too."""


class RandomTimeSlice(TimeSlice):
    """Work in slices lets other work run at moments that the seed chooses."""

    def __init__(self, random: Random, chance: float) -> None:
        super().__init__(clock=lambda: 0.0)
        self._random = random
        self._chance = chance

    @property
    def expired(self) -> bool:
        return self._random.random() < self._chance


class Process:
    """Starts, ends and starts again under the same name, as a worker of a service does."""

    def __init__(
        self,
        world: World,
        name: str,
        network: "Network",
        settings: Settings,
        permissions: "Permissions",
        outbox: "Outbox | None" = None,
    ) -> None:
        """With an `outbox` it relays, too."""
        self.name = name
        self.clock_offset = 0.0
        self.is_alive = False
        self.life = 0
        """Counts its starts."""
        self._world = world
        self._network = network
        self._settings = settings
        self._permissions = permissions
        self._random = world.random(name)
        self._transports: dict[StreamTransport, None] = {}
        self._outbox = outbox
        self.start()

    # Its life

    _relay: RelayThread | None

    def start(self) -> None:
        if self.is_alive:
            return
        self.life += 1
        self.is_alive = True
        self.runtime: Runtime | None = None
        self.loop = Loop(self._world, self.name, self._network.connect)
        self._marks = HighWaterMarks()
        self.log = self.make_log()
        self.loop.call_soon(self._start_runtime)
        self._relay = None
        if self._outbox is not None:
            self._relay = RelayThread(self, self._outbox, self._settings)

    def make_log(self, *, idempotency_age: int = IDEMPOTENCY_AGE_SECONDS) -> RedisLog:
        """A client of the log; all those of a process know what any of them acknowledged."""
        random = self._random
        return RedisLog(
            REDIS_URL,
            prefix="carillon",
            retention=replace(retention(self._settings), idempotency_age=idempotency_age),
            timeout=self._settings.PUBLISH_TIMEOUT,
            idle_check=self._settings.REDIS_IDLE_CHECK,
            slack=SLACK,
            marks=self._marks,
            clock=self.loop.time,
            uniform=random.uniform,
            token=lambda size: f"{random.getrandbits(8 * size):0{2 * size}x}",
        )

    def _start_runtime(self) -> None:
        random = self._random
        timing = Timing(
            clock=self.loop.time,
            wall_clock=lambda: self._world.wall_clock() + self.clock_offset,
            random=random,
            time_slice=lambda: RandomTimeSlice(random, 0.3),
            stride=random.choice((1, 2, 16)),
        )
        self.runtime = Runtime(self._settings, self.log, timing=timing)

    def kill(self) -> None:
        """SIGKILL: its sockets close, at any byte."""
        if self.is_alive:
            self.loop.kill()
            self._ended()

    def _ended(self) -> None:
        self.is_alive = False
        self._network.break_off(self._random, self.name)
        for transport in list(self._transports):
            transport.break_off()
        self._transports.clear()

    def stop(self, *, drain_seconds: float) -> None:
        """SIGTERM: end the streams, then everything else."""
        if self.is_alive and self._relay is not None:
            self._relay.stop()
        if self.is_alive and self.runtime is not None:
            self.loop.create_task(self._stop(self.loop, self.runtime, drain_seconds))
        else:
            self.kill()

    async def _stop(self, loop: Loop, runtime: Runtime, drain_seconds: float) -> None:
        if drain_seconds:
            await runtime.drain(over=drain_seconds)
        await runtime.stop()
        if self.loop is loop and self.is_alive:
            self.kill()

    # Its streams

    def request_stream(
        self, browser: "Browser", transport: "StreamTransport", last_id: str | None
    ) -> None:
        """A request arrives; a process that is not there refuses the connection."""
        if not self.is_alive or transport.loop is not self.loop:
            transport.refuse()
            return
        self._transports[transport] = None
        self.loop.call_soon(self._serve, browser, transport, last_id)

    def _serve(self, browser: "Browser", transport: "StreamTransport", last_id: str | None) -> None:
        for each in [each for each in self._transports if each.is_over]:
            del self._transports[each]
        self.loop.create_task(self._open(browser, transport, last_id))

    async def _open(
        self, browser: "Browser", transport: "StreamTransport", last_id: str | None
    ) -> None:
        """As the view does it: from a grant that is remembered, or by the database."""
        runtime = self.runtime
        if runtime is None or not await runtime.wait_ready(timeout=READY_SECONDS):
            transport.refuse()
            return
        grant: Grant | None = Grant(topics=tuple(sorted(browser.topics)))
        if browser.user is not None:
            renewal = Renewal(self, browser.session, browser.user, browser.topics)
            try:
                grant = await self._continued(runtime, renewal) or await renewal()
            except OperationalError:  # the view answers 503
                grant = None
        if grant is None or transport.is_over or not runtime.ready:
            transport.refuse()
            return
        # A stream that starts now starts where the process is; anything else would be a cursor.
        runtime.subscribe(grant, transport, Start(cursor=last_id))

    async def _continued(self, runtime: Runtime, renewal: "Renewal") -> Grant | None:
        """As `notifications.access.continuation`, without its signatures."""
        found = await runtime.ended.find(renewal.name())
        if found is None:
            return None
        content, left = json.loads(found.recalled.stream.body), found.recalled.left
        age = content["age"] + self._settings.CONTINUE_AGE - left
        if not 0 < left <= self._settings.CONTINUE_AGE or age >= self._settings.GRANT_MAX_AGE:
            return None
        return Grant(
            topics=tuple(content["topics"]),
            subjects=renewal.subjects,
            as_of=found.recalled.stream.as_of,
            confirmed=found.asked - age,
            renew=renewal,
        )

    async def ask_permissions(self, user: str, topics: frozenset[str]) -> frozenset[str]:
        """What of these topics the user may have. Raises what a database raises."""
        return await self._permissions.ask(user, topics)


@dataclass(frozen=True, slots=True)
class Renewal(Continuable):
    """Asks the permissions of a stream again, as `notifications.access.renewal` does."""

    process: Process
    session: str
    user: str
    topics: frozenset[str]

    @property
    def subjects(self) -> tuple[str, ...]:
        return (f"user:{self.user}",)

    async def __call__(self) -> Grant | None:
        runtime = self.process.runtime
        as_of = runtime.hub.head if runtime is not None and runtime.ready else None
        allowed = await self.process.ask_permissions(self.user, self.topics)
        if allowed != self.topics:
            return None
        topics = tuple(sorted(allowed))
        return Grant(topics=topics, subjects=self.subjects, as_of=as_of, renew=self)

    def name(self) -> str:
        return self.session.encode().hex()

    def ended(self, name: str, grant: Grant, *, age: float) -> EndedStream | None:
        if grant.as_of is None:
            return None
        subjects = (*grant.log_subjects, *map(topic_subject, grant.log_topics), EVERYONE)
        body = json.dumps({"topics": grant.topics, "age": age})
        return EndedStream(name, grant.as_of, subjects, body)

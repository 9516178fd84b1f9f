"""A simulated site: its processes, Redis, browsers and publishers, and all their faults."""

from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from notifications.conf import Settings
from notifications.errors import Conflict, Unavailable
from notifications.events import Event
from notifications.log.cursors import Cursor, parse_position
from notifications.log.entries import EVERYONE, ControlAction, ControlEntry, Draft
from tests.simulation.network import Network
from tests.simulation.outbox import Outbox
from tests.simulation.permissions import Permissions
from tests.simulation.plan import Plan, Step
from tests.simulation.processes import REDIS_URL, Process
from tests.simulation.records import Loss, Published, Revocation
from tests.simulation.redis_model import Data, Stream
from tests.simulation.redis_server import LOADING, OUT_OF_MEMORY, READ_ONLY, RedisServer
from tests.simulation.streams import Browser
from tests.simulation.world import World

GRANT_MAX_AGE_SECONDS = 1.5
STREAM_KEY, META_KEY = b"{carillon}:log", b"{carillon}:meta"
REPEATS = 6
REPEAT_SECONDS = 0.3, 1.0
REFUSALS = {"full": OUT_OF_MEMORY, "replica": READ_ONLY, "loading": LOADING}


def settings_of(plan: Plan) -> Settings:
    return Settings(
        LOG="redis",
        REDIS_URL=REDIS_URL,
        HISTORY_EVENTS=plan.history_events,
        KEEPALIVE=2,
        WRITE_DEADLINE=3,
        MAX_STREAM_AGE=plan.max_stream_age,
        GRANT_MAX_AGE=GRANT_MAX_AGE_SECONDS,
        CONTINUE_AGE=4,
        PUBLISH_TIMEOUT=2,
        REDIS_IDLE_CHECK=1,
        MAX_STREAMS=0,
        OUTBOX_LEASE=1,
        OUTBOX_POLL=0.3,
    )


class Site:
    """`story`: what was done, in order. The other lists are what the check needs to know."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.world = World(plan.seed)
        self.redis = RedisServer(self.world)
        self.network = Network(self.world, self.redis)
        self.permissions = Permissions(self.world)
        self.outbox = Outbox(self.world)
        self.settings = settings_of(plan)
        self.story: list[str] = []
        self.published: list[Published] = []
        self.revocations: list[Revocation] = []
        self.losses: list[Loss] = []
        self._fails_over_at_acknowledgement = 0
        self._random = self.world.random("site")
        self.processes = [self._make_process(number) for number in range(len(plan.slowness))]
        for process, slowness in zip(self.processes, plan.slowness, strict=True):
            self.network.slowness_of[process.name] = slowness
        self.browsers = [
            Browser(
                *(self.world, f"b{number}", frozenset(topics), user),
                choose=self._any_process,
                floor=lambda: self.floor,
            )
            for number, (topics, user) in enumerate(plan.browsers)
        ]
        for browser in self.browsers:
            self.world.after(self._random.uniform(0, 1), browser.connect)
        for step in plan.steps:
            self.world.add_timer(step.at, None, lambda step=step: self._do(step))

    def _make_process(self, number: int) -> Process:
        outbox = self.outbox if number < self.plan.relays else None
        name = f"p{number}"
        return Process(self.world, name, self.network, self.settings, self.permissions, outbox)

    def _do(self, step: Step) -> None:
        self.note(f"{step.act}({', '.join(map(str, step.arguments))})")
        getattr(self, step.act)(*step.arguments)

    def note(self, line: str) -> None:
        self.story.append(f"{self.world.now:9.4f}  {line}")

    def _any_process(self, random: Random) -> Process:
        return random.choice(self.processes)

    def _later(self, seconds: float, call: Callable[[], object], line: str) -> None:
        def run() -> None:
            self.note(line)
            call()

        self.world.after(seconds, run)

    # What publishers do

    def publish(
        self, process: int, topics: Sequence[str], count: int, size: int, keyed: bool
    ) -> None:
        """`count` events together; with keys, what is unknown is sent again, to any process."""
        first = len(self.published)
        publications = [
            Published(
                data=f"{first + index}" + "." * size,
                topics=frozenset(topics),
                began=self.world.now,
                key=f"key{first + index}" if keyed else None,
            )
            for index in range(count)
        ]
        self.published += publications
        self._send(self.processes[process], publications, REPEATS if keyed else 0)

    def _send(self, process: Process, publications: list[Published], repeats: int) -> None:
        if process.is_alive:
            process.loop.create_task(self._append(process, publications, repeats))
        elif not publications[0].attempts:
            for each in publications:
                each.outcome = "not_sent"
        else:
            self._send_again(publications, repeats)

    def _send_again(self, publications: list[Published], repeats: int) -> None:
        if repeats:
            process = self._any_process(self._random)
            pause = self._random.uniform(*REPEAT_SECONDS)
            self.world.after(pause, lambda: self._send(process, publications, repeats - 1))

    async def _append(self, process: Process, publications: list[Published], repeats: int) -> None:
        drafts = [
            Draft(
                Event(topics=sorted(each.topics), data=each.data, id=f"urn:x:{each.data[:8]}"),
                each.key,
                each.key or "",
                named=each.key is not None,
            )
            for each in publications
        ]
        for each in publications:
            each.attempts += 1
        try:
            receipts = await process.log.append(drafts)
        except Unavailable as error:
            self.note(f"{process.name} could not publish {publications[0].name}: {error.outcome}")
            for each in publications:
                if each.attempts == 1:
                    each.outcome = error.outcome
            if error.outcome == "unknown":
                self._send_again(publications, repeats)
            return
        except Conflict:
            self.note(f"{process.name} found a conflict for {publications[0].name}")
            return
        for each, receipt in zip(publications, receipts, strict=True):
            each.acknowledge(receipt.cursor, (process.name, process.life), self.world.now)
            self.note(f"{process.name} published {each.name} at {receipt.cursor}")
        changes, self._fails_over_at_acknowledgement = self._fails_over_at_acknowledgement, 0
        if changes:
            self.fail_over(changes)

    def write_outbox(self, topics: Sequence[str], count: int) -> None:
        """A transaction commits `count` events for the relays to publish."""
        for _ in range(count):
            number = len(self.published)
            each = Published(
                f"{number}", frozenset(topics), self.world.now, by_outbox=True, attempts=1
            )
            self.published.append(each)
            self.outbox.write(each)

    # What happens to processes

    def kill(self, number: int, seconds: float) -> None:
        process = self.processes[number]
        process.kill()
        self._later(seconds, process.start, f"{process.name} starts")

    def freeze(self, number: int, seconds: float) -> None:
        process, loop = self.processes[number], self.processes[number].loop
        loop.freeze()
        self._later(seconds, loop.thaw, f"{process.name} goes on")

    def restart(self, number: int, drain_seconds: float) -> None:
        process = self.processes[number]
        process.stop(drain_seconds=drain_seconds)
        self._later(drain_seconds + 2, process.kill, f"{process.name} has no more time")
        self._later(drain_seconds + 2.1, process.start, f"{process.name} starts")

    def set_clock(self, number: int, seconds: float) -> None:
        self.processes[number].clock_offset = seconds

    # What happens to the network between them and Redis

    def cut_off(self, number: int, seconds: float) -> None:
        name = self.processes[number].name
        self.network.cut_off(name)
        self._later(seconds, lambda: self.network.heal(name), f"{name} reaches Redis again")

    def break_connections(self, number: int) -> None:
        self.network.break_off(self._random, self.processes[number].name)

    def slow_network(self, factor: float, seconds: float) -> None:
        self.network.slowness = factor
        self._later(seconds, lambda: self.slow_network_ends(), "the network is fast again")

    def slow_network_ends(self) -> None:
        self.network.slowness = 1.0

    # What happens to Redis

    def stop_redis(self, seconds: float) -> None:
        """Its process ends; what it has kept is all there when it starts again."""
        self._break_redis()
        self.redis.listens = False
        self._later(seconds, self._start_redis, "Redis starts")

    def _start_redis(self) -> None:
        self.redis.listens = True

    def _break_redis(self) -> None:
        self.network.break_off(self._random)
        self.redis.forget_scripts()

    def freeze_redis(self, seconds: float) -> None:
        self.redis.stand_still()
        self._later(seconds, self.redis.go_on, "Redis goes on")

    def refuse(self, why: str, seconds: float) -> None:
        self.redis.refuse(REFUSALS[why])
        self._later(seconds, lambda: self.redis.refuse(None), "Redis takes writes again")

    def forget_scripts(self) -> None:
        self.redis.forget_scripts()

    def set_redis_clock(self, ms: int) -> None:
        self.redis.clock_offset_ms += ms

    def lose_tail(self, changes: int, seconds: float) -> None:
        """It is killed, and comes back without its last changes."""
        self._break_redis()
        self._restore(self.redis.copy_before(changes))
        self.stop_redis(seconds)

    def fail_over(self, changes: int) -> None:
        """A replica without the last changes takes over at once."""
        self._break_redis()
        self._restore(self.redis.copy_before(changes))

    def fail_over_at_acknowledgement(self, changes: int) -> None:
        """The same, when the next publication has just been acknowledged."""
        self._fails_over_at_acknowledgement = changes

    def restore_backup(self, age: float, seconds: float) -> None:
        self._break_redis()
        self._restore(self.redis.copy_at(self.world.now - age))
        self.stop_redis(seconds)

    def lose_everything(self, seconds: float) -> None:
        self._break_redis()
        self._restore(Data())
        self.stop_redis(seconds)

    def flush(self) -> None:
        """FLUSHALL: no connection breaks."""
        self._restore(Data())

    def _restore(self, data: Data) -> None:
        before = self._cursors()
        self.redis.restore(data)
        lost = (before | self._acknowledged_since(data)) - self._cursors()
        self.losses.append(Loss(self.world.now, lost))
        self.note(f"Redis lost {len(lost)} entries, its last one is {self._head()}")

    def _acknowledged_since(self, data: Data) -> frozenset[Cursor]:
        """Where publications are that these data lack, also if retention has removed them since."""
        stream = data.values.get(STREAM_KEY)
        last = stream.last if isinstance(stream, Stream) else (0, 0)
        head = parse_position(b"%d-%d" % last)
        cursors = (each.cursor for each in self.published)
        return frozenset(cursor for cursor in cursors if cursor and cursor.position > head)

    def _stream(self) -> tuple[str, Stream]:
        data = self.redis.model.data
        meta, stream = data.values.get(META_KEY), data.values.get(STREAM_KEY)
        epoch = meta.get(b"epoch") if isinstance(meta, dict) else None
        name = epoch.decode() if isinstance(epoch, bytes) else ""
        return name, stream if isinstance(stream, Stream) else Stream()

    def _cursors(self) -> frozenset[Cursor]:
        epoch, stream = self._stream()
        return frozenset(
            Cursor(epoch, parse_position(b"%d-%d" % entry[0])) for entry in stream.entries
        )

    def _head(self) -> str:
        epoch, stream = self._stream()
        return f"{epoch} {stream.last[0]}-{stream.last[1]}"

    @property
    def epoch(self) -> str:
        return self._stream()[0]

    @property
    def floor(self) -> int:
        """The position of the oldest entry that Redis has."""
        entries = self._stream()[1].entries
        return parse_position(b"%d-%d" % entries[0][0]) if entries else 0

    @property
    def acts(self) -> set[str]:
        return {step.act for step in self.plan.steps}

    def published_to(self, browser: Browser) -> list[Published]:
        return [each for each in self.published if each.topics & browser.topics]

    @property
    def lives(self) -> set[tuple[str, int]]:
        """The processes that are alive, and which of their lives it is."""
        return {(each.name, each.life) for each in self.processes if each.is_alive}

    # What happens to browsers

    def leave(self, number: int) -> None:
        self.browsers[number].leave()

    def stall(self, number: int, seconds: float) -> None:
        browser = self.browsers[number]
        browser.stall()
        self._later(seconds, browser.go_on, f"{browser.name} reads again")

    # What happens to permissions

    def kick(self, number: int, user: str) -> None:
        self._control(number, ControlAction.END, f"user:{user}", "kicked", None)

    def recheck_all(self, number: int) -> None:
        self._control(number, ControlAction.RECHECK, EVERYONE, "", None)

    def revoke(self, number: int, user: str, action: str) -> None:
        """The user loses the permission, which is committed, and every process is told of it."""
        if user in self.permissions.denied:
            return
        self.permissions.denied.add(user)
        revocation = Revocation(user, self.world.now, action)
        self.revocations.append(revocation)
        self._control(number, ControlAction(action), f"user:{user}", "permission_ended", revocation)

    def revoke_while_asked(self, number: int, user: str, action: str) -> None:
        """The same, at the moment at which the database has answered a process about the user."""

        def run() -> None:
            self.note(f"{user} loses the permission while a process is asking for it")
            self.revoke(number, user, action)
            self._publish_soon(number, user, 0.3)

        self.permissions.when_asked[user] = run

    def revoke_while_away(self, number: int, user: str, action: str) -> None:
        """The same, while no stream of the user is open. One of the processes is then a new one."""
        for browser in self.browsers:
            if browser.user == user:
                browser.leave()
        self.world.after(0.1, partial(self.revoke, number, user, action))
        self.world.after(0.2, partial(self.kill, number, 0.02))
        self._publish_soon(number, user, 1.5)

    def _publish_soon(self, number: int, user: str, seconds: float) -> None:
        for _ in range(4):
            publish = partial(self.publish, number, (f"user.{user}",), 1, 0, False)
            self.world.after(self._random.uniform(0.01, seconds), publish)

    def database_away(self, seconds: float) -> None:
        self.permissions.is_away = self.outbox.is_away = True
        self._later(seconds, self._database_back, "the database is back")

    def _database_back(self) -> None:
        self.permissions.is_away = self.outbox.is_away = False

    def _control(
        self,
        number: int,
        action: ControlAction,
        subject: str,
        reason: str,
        revocation: Revocation | None,
    ) -> None:
        entry = ControlEntry(action, (subject,), reason, id=f"{self._random.getrandbits(64):016x}")
        self._send_control(self.processes[number], entry, revocation)

    def _send_control(
        self, process: Process, entry: ControlEntry, revocation: Revocation | None
    ) -> None:
        """As `notifications.publishing.control`: until the log has it, whoever appends it."""
        if process.is_alive:
            process.loop.create_task(self._append_control(process, entry, revocation))
        else:
            self._send_control_again(entry, revocation)

    def _send_control_again(self, entry: ControlEntry, revocation: Revocation | None) -> None:
        process = self._any_process(self._random)
        pause = self._random.uniform(0.1, 0.5)
        self.world.after(pause, lambda: self._send_control(process, entry, revocation))

    async def _append_control(
        self, process: Process, entry: ControlEntry, revocation: Revocation | None
    ) -> None:
        try:
            cursor = await process.log.append_control(entry)
        except Unavailable:
            self._send_control_again(entry, revocation)
            return
        self.note(f"{process.name} has appended the control entry up to {cursor}")
        if revocation is not None and revocation.at is None:
            revocation.at, revocation.acknowledged = cursor, self.world.now
            revocation.life = (process.name, process.life)

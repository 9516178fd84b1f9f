"""The outbox of a simulated site: its table and its lease, and relays as threads of processes.

The real relay runs, which blocks its thread: here the thread is a greenlet, and to block is to let
the loop of its process run.
"""

from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import OperationalError
from greenlet import greenlet

from notifications.conf import Settings
from notifications.log.entries import ControlEntry, Draft, Receipt
from notifications.publishing.outbox.lease import NEVER, Lease
from notifications.publishing.outbox.relay import Relay
from notifications.publishing.outbox.rows import Row, WaitingEvent
from tests.simulation.permissions import QUERY_SECONDS
from tests.simulation.records import Published
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.processes import Process

ALIAS = "default"


class Outbox:
    """The database. It stands in for the module `table` too, of which the relay calls this much."""

    def __init__(self, world: World) -> None:
        self.is_away = False
        self.rows: dict[int, Row] = {}
        self.published: dict[str, Published] = {}
        """What is written here, by its data."""
        self.threads: list[RelayThread] = []
        self.holder, self.expires_at = "", 0.0
        self.now = world.wall_clock
        self._random = world.random("outbox")
        self._count = 0

    def write(self, published: Published) -> None:
        self._count += 1
        published.key = f"urn:y:{self._count}"
        self.published[published.data] = published
        self.rows[self._count] = Row(
            pk=self._count,
            key=UUID(int=self._random.getrandbits(128), version=4),
            topics="\n".join(sorted(published.topics)),
            type="",
            name=published.key,
            data=published.data.encode(),
            is_text=True,
            retry=None,
            swap="",
            per_topic=False,
        )

    def query(self, thread: "RelayThread") -> None:
        """A query takes a while, and is answered by what the table has in its midst."""
        thread.sleep(self._random.uniform(*QUERY_SECONDS))
        if self.is_away:
            raise OperationalError("The database is away.")

    def is_any_waiting(self, using: str) -> bool:
        return bool(self.oldest(using, 1))

    def oldest(self, using: str, count: int) -> list[Row]:
        del using
        thread = RelayThread.current()
        self.query(thread)
        found = list(self.rows.values())[:count]
        self.query(thread)
        return found

    def remove(self, events: Sequence[WaitingEvent], *, using: str) -> Sequence[Row]:
        del using
        thread = RelayThread.current()
        self.query(thread)
        for event in events:
            self.rows.pop(event.row.pk, None)
        self.query(thread)
        return [event.row for event in events]


class SimulatedLease(Lease):
    """The real lease, without its SQL."""

    def __init__(self, thread: "RelayThread", outbox: Outbox, *, seconds: float) -> None:
        super().__init__(ALIAS, seconds=seconds, clock=thread.process.loop.time)
        self._holder = f"{thread.process.name}-{thread.process.life}"
        self._thread = thread
        self._outbox = outbox

    def take(self) -> bool:
        began, outbox = self._clock(), self._outbox
        outbox.query(self._thread)
        taken = outbox.holder == self._holder or outbox.expires_at <= outbox.now()
        if taken:
            outbox.holder, outbox.expires_at = self._holder, outbox.now() + self._seconds
        outbox.query(self._thread)
        self._renewed_at = began if taken else NEVER
        return taken

    def read(self) -> tuple[str, float]:
        self._outbox.query(self._thread)
        return self._outbox.holder, self._outbox.expires_at - self._outbox.now()

    def release(self) -> None:
        self._renewed_at = NEVER
        self._outbox.query(self._thread)
        if self._outbox.holder == self._holder:
            self._outbox.holder, self._outbox.expires_at = "", self._outbox.now()


class RelayThread:
    """One relay. It ends with its process, in the midst of anything, or when it is stopped."""

    def __init__(self, process: "Process", outbox: Outbox, settings: Settings) -> None:
        self.process = process
        self._loop = process.loop
        self._outbox = outbox
        self._calls = process.make_log(idempotency_age=settings.OUTBOX_KEY_AGE)
        self._life = (process.name, process.life)
        self._relay = Relay(ALIAS, settings)
        self._relay._lease = SimulatedLease(self, outbox, seconds=settings.OUTBOX_LEASE)
        self._relay._log = self  # type: ignore[assignment] # of a SyncLog, what the relay calls
        self._greenlet: Any = greenlet(self._run)
        self._greenlet.thread = self
        outbox.threads.append(self)
        self._loop.call_soon(self._resume)

    @staticmethod
    def current() -> "RelayThread":
        thread: RelayThread = greenlet.getcurrent().thread
        return thread

    def stop(self) -> None:
        self._relay.stop()

    def end(self) -> None:
        """Unwind its stack, when the world is over: what that holds is freed by nothing else."""
        while not self._greenlet.dead:
            with suppress(Exception):  # its loop is closed
                self._greenlet.throw()

    # The thread

    def _run(self) -> None:
        while not self._relay._stopping:
            self.sleep(self._relay._step())
        with suppress(OperationalError):
            self._relay._lease.release()

    def _resume(self) -> None:
        if not self._loop.is_closed():
            self._greenlet.switch()

    def sleep(self, seconds: float) -> None:
        self._loop.call_later(seconds, self._resume)
        self._greenlet.parent.switch()

    def wait[T](self, call: Coroutine[Any, Any, T]) -> T:
        task = self._loop.create_task(call)
        task.add_done_callback(lambda _: self._resume())
        self._greenlet.parent.switch()
        result: T = task.result()
        return result

    # The log, as the relay calls it

    def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        receipts = self.wait(self._calls.append(drafts))
        for draft, receipt in zip(drafts, receipts, strict=True):
            published = self._outbox.published[str(draft.event.data)]
            if published.cursor is None:
                published.acknowledge(receipt.cursor, self._life, self._loop.time())
        return receipts

    def append_control(self, control: ControlEntry) -> object:
        return self.wait(self._calls.append_control(control))

    def release(self, keys: Sequence[str], *, seconds: int) -> None:
        self.wait(self._calls.release(keys, seconds=seconds))

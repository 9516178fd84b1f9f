"""Faults planted in the code, each of which breaks one promise: the simulation must find them all.

A mutation is a context manager, during which the code is wrong.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from notifications.hub import hub as hub_module
from notifications.hub import resume
from notifications.hub.ended import EndedStreams
from notifications.hub.enforcement import Enforcement
from notifications.hub.hub import Hub
from notifications.hub.payloads import Chunk
from notifications.hub.runtime import Runtime
from notifications.hub.subscribers import Start, Subscriber
from notifications.hub.window import Window
from notifications.log import script, sections
from notifications.log.acks import HighWaterMarks
from notifications.log.cursors import START, Cursor, Position
from notifications.log.entries import Batch, Draft, Gap, ResetReason
from notifications.log.groups import Groups
from notifications.log.reader import Raw, Reader
from notifications.log.redis import RedisLog
from notifications.publishing.outbox import relay as relay_module
from notifications.publishing.outbox.relay import Relay
from notifications.publishing.outbox.rows import Row, WaitingEvent
from tests.simulation.plan import LOSSES, plan_of
from tests.simulation.run import run

type Mutation = Callable[[], AbstractContextManager[object]]


def lua(before: str, after: str) -> Mutation:
    """Of a script. A server that has the right one under its name does not get this one."""

    @contextmanager
    def mutation() -> Iterator[None]:
        texts = {sha: text.replace(before, after) for sha, text in script._TEXTS.items()}
        assert texts != script._TEXTS, before
        with patch.object(script, "_TEXTS", texts):
            yield

    return mutation


def of(owner: Any, name: str, replacement: Any) -> Mutation:
    return lambda: patch.object(owner, name, replacement)


# The hub


def keep_alive_names_head(self: Hub, subscriber: Subscriber) -> None:
    if subscriber.open and not subscriber.transport.busy:
        encoder = subscriber.audience.encoder
        payload = self._keepalives.at(self._epoch, self._window.head, encoder)
        self._write(subscriber, payload, subscriber.position)


def laggards_are_written_to(self: Hub, members: Sequence[Subscriber], chunk: Chunk) -> None:
    for member in members:
        if member.open and member.position < chunk.last and not member.transport.busy:
            self._write(member, chunk.payload, chunk.last)


def busy_members_are_skipped(self: Hub, members: Sequence[Subscriber], chunk: Chunk) -> None:
    for member in members:
        is_next = not member.behind and member.position < chunk.first
        if member.open and is_next and not member.transport.busy:
            self._write(member, chunk.payload, chunk.last)


def covered_parts_come_again(self: Hub, members: Sequence[Subscriber], chunk: Chunk) -> None:
    for member in members:
        if member.open and not member.behind:
            if member.transport.busy:
                self._fall_behind(member)
            else:
                self._write(member, chunk.payload, chunk.last)


async def settled_too_early(self: Hub, batch: Batch) -> None:
    self._window.append(batch)
    self._settled = self._window.head
    await self._deliver(batch)


async def silent_reload(self: Hub, epoch: str, window: Window, reason: ResetReason) -> None:
    self._window, self._epoch, self._settled = window, epoch, window.head


def opening_names_head(
    subscriber: Subscriber, window: Window, epoch: str, *more: Any, **named: Any
) -> bytes:
    opening = subscriber.audience.encoder.cursor(Cursor(epoch, window.head))
    return opening + resume.take_opening(subscriber, window, epoch, *more, **named)


def epoch_is_not_compared(
    start: Start, topics: Any, window: Window, epoch: str
) -> tuple[Position, ResetReason | None]:
    if isinstance(start.cursor, str):
        start = Start(cursor=Cursor(epoch, Cursor.parse(start.cursor).position))
    return resume.resolve_start(start, topics, window, epoch)


def floor_is_not_compared(
    start: Start, topics: Any, window: Window, epoch: str
) -> tuple[Position, ResetReason | None]:
    position, reset = resume.resolve_start(start, topics, window, epoch)
    if reset is ResetReason.TRIMMED and isinstance(start.cursor, str):
        return Cursor.parse(start.cursor).position, None
    return position, reset


async def cursor_ahead_is_believed(*_: Any, **__: Any) -> None: ...


def laggards_skip_what_was_trimmed(self: Hub, subscriber: Subscriber) -> None:
    if subscriber.position < self._window.floor:
        subscriber.advance(self._window.floor)
    _serve(self, subscriber)


_serve = Hub._serve


# The log


def predecessor_is_not_checked(
    self: Reader, raw: Sequence[Raw], after: Position = START
) -> Iterable[Batch]:
    for batch in _read_batch(self, raw, after):
        yield Batch(after, batch.last, batch.records, batch.controls)
        after = batch.last


_read_batch = Reader.batch


async def nothing_is_checked(self: RedisLog, *_: Any, **__: Any) -> Gap | None:
    return None


def no_mark(self: HighWaterMarks, log: str) -> None: ...


def repeated_without_search(section: sections.Section, before: Cursor | None) -> sections.Section:
    return section


async def answers_in_another_order(
    self: Groups[Any], queue: Any, call: Any, deadline: float
) -> Any:
    return list(await _group_call(self, queue, call, deadline))[::-1]


_group_call = Groups._call


# Permissions


async def controls_after_events(self: Runtime) -> ResetReason:
    async for item in self.log.tail(self.hub.head):
        if isinstance(item, Gap):
            return item.reason
        await self.hub.deliver(item)
        await self._apply(item.controls)
    raise AssertionError


async def no_control_is_applied(self: Enforcement, controls: Any) -> None: ...


def missed_controls_are_forgotten(self: Enforcement, control: Any) -> None: ...


def no_recheck(self: Enforcement, subscriber: Subscriber) -> None: ...


def nothing_is_denied(self: EndedStreams, name: str) -> None: ...


# The outbox


def removed_before_it_is_published(self: Relay, batch: list[Row]) -> int:
    relay_module.table.remove(  # type: ignore[attr-defined]
        [each for row in batch for each in row.events()], using=self.using
    )
    return _publish(self, batch)


_publish = Relay.publish


def published_without_a_key(self: WaitingEvent, data: Any) -> Draft:
    return replace(_draft(self, data), key=None)


_draft = WaitingEvent.draft


MUTATIONS: dict[str, Mutation] = {
    "a keep-alive names the head": of(Hub, "keep_alive", keep_alive_names_head),
    "a laggard is taken as caught up": of(Hub, "_fan_out", laggards_are_written_to),
    "a busy transport loses the chunk": of(Hub, "_fan_out", busy_members_are_skipped),
    "a chunk is written to who has it": of(Hub, "_fan_out", covered_parts_come_again),
    "settled before the fan-out is over": of(Hub, "deliver", settled_too_early),
    "a new window without a reset": of(Hub, "reload", silent_reload),
    "the opening of a resume names the head": of(hub_module, "take_opening", opening_names_head),
    "the epoch of a cursor is not compared": of(hub_module, "resolve_start", epoch_is_not_compared),
    "a trimmed cursor is accepted": of(hub_module, "resolve_start", floor_is_not_compared),
    "what fell off the window is skipped": of(Hub, "_serve", laggards_skip_what_was_trimmed),
    "the predecessor is not checked": of(Reader, "batch", predecessor_is_not_checked),
    "the log is not checked": of(RedisLog, "_check", nothing_is_checked),
    "acknowledged positions are not compared": of(HighWaterMarks, "mark", no_mark),
    "a repetition does not search": of(sections, "repetition", repeated_without_search),
    "the answers of a group are mixed up": of(Groups, "_call", answers_in_another_order),
    "idempotency keys are not read": lua("section.held[key] = remembered(section, name, part)", ""),
    "a late first attempt is kept": lua("if section.hits == 0 and (repeated or", "if false and ("),
    "an entry does not name its predecessor": lua(
        "local prev = last or '0-0'", "local prev = '0-0'"
    ),
    "control entries come after the events": of(Runtime, "_follow_tail", controls_after_events),
    "control entries are not applied": of(Enforcement, "apply", no_control_is_applied),
    "a control entry is outrun by a new grant": of(
        Enforcement, "_remember", missed_controls_are_forgotten
    ),
    "a control entry is outrun by a continued grant": lua(
        "if known_score(KEYS[4], lines[i]) > as_of then return false end", ""
    ),
    "a row is removed before it is published": of(Relay, "publish", removed_before_it_is_published),
    "the relay names no idempotency key": of(WaitingEvent, "draft", published_without_a_key),
    "nobody is rechecked": of(Enforcement, "_recheck_soon", no_recheck),
}


NEEDED = {
    "the epoch of a cursor is not compared": set(LOSSES),
    "the log is not checked": {"flush", "lose_everything"},
    "acknowledged positions are not compared": {"fail_over_at_acknowledgement"},
    "a late first attempt is kept": {"break_connections"},
    "control entries come after the events": {"revoke", "revoke_while_asked"},
    "a control entry is outrun by a new grant": {"revoke_while_asked"},
    "a control entry is outrun by a continued grant": {"revoke_while_away"},
    "a row is removed before it is published": {"write_outbox"},
    "the relay names no idempotency key": {"write_outbox"},
}
"""Without any of these acts a world cannot find that mutation, and need not be run."""


def seed_that_finds(name: str, seeds: Iterable[int]) -> int | None:
    """The first of these seeds whose world shows that the code is wrong."""
    with planted([name]):
        for seed in seeds:
            plan = plan_of(seed)
            acts = {step.act for step in plan.steps}
            if acts & NEEDED.get(name, acts) and run(plan).violations:
                return seed
    return None


@contextmanager
def planted(names: Iterable[str]) -> Iterator[None]:
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(MUTATIONS[name]())
        yield

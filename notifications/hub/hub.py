"""The hub: fan-out inside one process.

What makes "no gap, no repeat" hold is one rule. A subscriber that is not behind has everything up
to `max(its position, settled)`; one that is behind has everything up to its position, and is served
from the window. `settled` moves only when a fan-out is over, the window before it begins.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import batched

from notifications.hub.audiences import Audiences
from notifications.hub.chunks import MAX_CHUNK, Chunk, KeepAliveCache, pack
from notifications.hub.encoders import PLAIN, Encoder
from notifications.hub.resume import by_topic, next_chunk, place_of
from notifications.hub.scheduling import STRIDE, FairQueue, TimeSlice
from notifications.hub.subscribers import Audience, CloseReason, Start, Subscriber, Waiting
from notifications.hub.window import Window
from notifications.log.base import Batch, Entry, ResetReason
from notifications.log.cursors import START, Cursor, Position, position, position_ms
from notifications.telemetry.counters import process_counters
from notifications.transport.base import Payload, Transport

logger = logging.getLogger("carillon")


class Hub:
    """Lives in one event loop, and is called only there."""

    def __init__(self, epoch: str, window: Window) -> None:
        self._epoch = epoch
        self._window = window
        self._settled = window.head
        self._audiences = Audiences()
        self._waiting = Waiting()
        self._queue = FairQueue(self._serve)
        self._keepalives = KeepAliveCache()
        self._loop = asyncio.get_running_loop()
        self.left: list[Callable[[Subscriber], object]] = []  # each is told of whoever has left

    @property
    def head(self) -> Cursor:
        """The last position that this process has read."""
        return Cursor(self._epoch, self._window.head)

    @property
    def subscribers(self) -> list[Subscriber]:
        return [member for audience in self._audiences for member in audience.members]

    @property
    def slow(self) -> int:
        """How many have not taken yet what they were sent."""
        return len(self._waiting)

    @property
    def window(self) -> Window:
        return self._window

    def hearing(self, topic: str) -> list[Subscriber]:
        """Whoever subscribed to a topic."""
        return [member for each in self._audiences.hearing(topic) for member in each.members]

    # Joining and leaving

    def subscribe(
        self,
        topics: frozenset[str],
        transport: Transport,
        start: Start,
        *,
        encoder: Encoder = PLAIN,
        denied: Collection[str] = (),
        since: Mapping[str, int] | None = None,
        subjects: tuple[str, ...] = (),
    ) -> Subscriber:
        """Take the cursor, join, and say where the stream goes on from, in one step of the loop."""
        place, reset = self.place(start)
        first = {topic: position(ms) for topic, ms in since.items()} if since else {}
        lost: Collection[str] = topics
        if start.cursors:
            place, begin, lost = by_topic(start.cursors, self.head, self._window.floor)
            first |= begin
            reset = ResetReason.UNKNOWN if lost else None
        subscriber = Subscriber(self, self._audiences.of(topics, encoder), transport, place)
        process_counters.opened += 1
        subscriber.subjects = subjects
        if first:
            subscriber.limit_history(first, head=self._window.head)
        if encoder.opens_alike and not (reset or denied) and place >= self._window.head:
            self._write(subscriber, self._keepalives.at(Cursor(self._epoch, place), encoder))
            return subscriber
        at = Cursor(self._epoch, place)
        opening = encoder.beginning(subscriber.since or {}).opening(at, reset, lost)
        if denied:
            opening += encoder.denied(at, denied)
        if reset:
            process_counters.resets[reset] += 1
        if place < self._window.head:
            subscriber.behind = True
            room = MAX_CHUNK - len(opening)
            opening += next_chunk(subscriber, self._window, self._epoch, room=room)
        self._write(subscriber, Payload(opening))
        self._go_on(subscriber)
        return subscriber

    def place(self, start: Start) -> tuple[Position, ResetReason | None]:
        """Where a stream goes on from. A cursor ahead of this process is taken at its word."""
        return place_of(start, self._window, self._epoch)

    def leave(self, subscriber: Subscriber, reason: CloseReason) -> None:
        """The stream is over. Its wire is not touched; a second reason is not heard."""
        if not subscriber.open:
            return
        subscriber.open = False
        self._waiting.end(subscriber)
        self._audiences.leave(subscriber)
        for tell in self.left:
            tell(subscriber)
        process_counters.closed[reason] += 1
        topics = len(subscriber.audience.topics)
        logger.log(reason.level, "stream.closed reason=%s topics=%d", reason, topics)

    def close(
        self, subscriber: Subscriber, reason: CloseReason, *, topics: Collection[str] = ()
    ) -> None:
        """End the stream, and say why where the wire still can: for the sake of these topics."""
        if not subscriber.open:
            return
        self.leave(subscriber, reason)
        transport = subscriber.transport
        if transport.busy or reason in (CloseReason.WRITE_FAILED, CloseReason.TOO_SLOW):
            transport.abort()
            return
        # Who fell behind may read nothing more of it, and who is old would come back to us by it.
        hang_up = reason in (CloseReason.FELL_BEHIND, CloseReason.TOO_OLD)
        try:
            encoder = subscriber.audience.encoder
            said = encoder.forbidden(reason, topics) if topics else encoder.closing(reason)
            transport.end(Payload(said), hang_up=hang_up)
        except Exception:
            logger.exception("wire.failed")
            transport.abort()
        self._watch(subscriber)

    # Fan-out

    async def deliver(self, batch: Batch) -> None:
        """Take a batch from the tail, and bring it to everyone concerned before the next."""
        self._window.append(batch)
        before = process_counters.delivered
        time_slice = TimeSlice()
        for group in await self._audiences.concerned(batch.entries, time_slice):
            for chunk in pack(group.entries, partial(self._block, group.audience)):
                for members in batched(group.members, STRIDE):
                    if chunk.skip:
                        self._set_aside(members, chunk.skip)
                    self._hand(members, chunk)
                    if time_slice.due:
                        await time_slice.take()
        self._settled = self._window.head
        process_counters.read += len(batch.entries)
        if process_counters.delivered != before:
            process_counters.heard(position_ms(batch.entries[0].position))

    def _hand(self, members: Sequence[Subscriber], chunk: Chunk) -> None:
        """The chunk to those who have all before it and none of it; others catch up later."""
        first, last, payload = chunk.first, chunk.last, chunk.payload
        written = 0
        for member in members:
            if member.behind or member.position >= last or not member.open:
                continue
            if member.transport.busy or member.position >= first:
                self._fall_behind(member)
            else:
                member.position = last
                self._write(member, payload)
                written += 1
        process_counters.delivered += written * chunk.count

    def _set_aside(self, members: Sequence[Subscriber], skip: frozenset[str]) -> None:
        """Who is passed over by an event of a chunk gets the rest of it from the window."""
        for member in members:
            if member.open and not member.behind and member.is_among(skip):
                self._fall_behind(member)

    def _fall_behind(self, member: Subscriber) -> None:
        member.position = max(member.position, self._settled)
        member.behind = True
        self._go_on(member)

    # One subscriber

    def drained(self, subscriber: Subscriber) -> None:
        self._waiting.end(subscriber)
        self._go_on(subscriber)

    def lost(self, subscriber: Subscriber) -> None:
        if subscriber.open:
            self.close(subscriber, CloseReason.WRITE_FAILED)
        else:
            self._waiting.end(subscriber)
            subscriber.transport.abort()

    def _go_on(self, subscriber: Subscriber) -> None:
        """One that is behind is served in its turn: many may be ready at once."""
        if subscriber.behind and not subscriber.transport.busy:
            self._queue.add(subscriber)

    def _serve(self, subscriber: Subscriber) -> None:
        """Hand over the next chunk of what is due, if the wire takes one."""
        if not subscriber.open or not subscriber.behind or subscriber.transport.busy:
            return
        if subscriber.reset:
            reason, subscriber.reset = subscriber.reset, None
            subscriber.position = self._window.head
            subscriber.behind = False
            subscriber.since = None
            process_counters.resets[reason] += 1
            encoder = subscriber.audience.encoder
            self._write(subscriber, Payload(encoder.reset(self.head, reason)))
        elif subscriber.position < self._window.floor:
            self.close(subscriber, CloseReason.FELL_BEHIND)
        else:
            chunk = next_chunk(subscriber, self._window, self._epoch, room=MAX_CHUNK)
            if chunk:
                self._write(subscriber, Payload(chunk))
            self._go_on(subscriber)

    def _write(self, subscriber: Subscriber, payload: Payload) -> None:
        transport = subscriber.transport
        try:
            transport.write(payload)
        except Exception:
            # One that fails in a way nobody thought of costs one stream, and not the fan-out.
            logger.exception("wire.failed")
            self.close(subscriber, CloseReason.WRITE_FAILED)
            return
        self._watch(subscriber)

    def _watch(self, subscriber: Subscriber) -> None:
        if subscriber.transport.busy:
            self._waiting.begin(subscriber)

    def _block(self, audience: Audience, entry: Entry) -> bytes:
        return audience.encoder.event(self._epoch, entry, audience.topics)

    # What goes on without events

    def keep_alive(self, subscriber: Subscriber) -> None:
        """Tell a caught-up subscriber its place, so that its cursor never grows old."""
        if subscriber.open and not subscriber.behind and not subscriber.transport.busy:
            at = self._place_of(subscriber)
            self._write(subscriber, self._keepalives.at(at, subscriber.audience.encoder))

    def _place_of(self, subscriber: Subscriber) -> Cursor:
        caught_up = START if subscriber.behind else self._settled
        return Cursor(self._epoch, max(subscriber.position, caught_up))

    def follow_on(self, subscriber: Subscriber) -> Start:
        """Where another stream begins, to go on in this step of the loop with what this one had."""
        # One that was still to be told of a reset is told by the other: no cursor reads like this.
        return Start(cursor="" if subscriber.reset else str(self._place_of(subscriber)))

    async def close_the_slow(self, *, deadline: float) -> None:
        """Close the streams whose wire has been busy with one chunk for `deadline` seconds."""
        time_slice = TimeSlice()
        for subscriber in self._waiting.late(deadline):
            if subscriber.open:
                self.close(subscriber, CloseReason.TOO_SLOW)
            else:
                subscriber.transport.abort()  # not even its last words are through
            if time_slice.due:
                await time_slice.take()

    async def trim(self, *, now_ms: int) -> None:
        """Let go of the history that is too old, or too much."""
        time_slice = TimeSlice()
        while self._window.trim(now_ms=now_ms):
            await time_slice.take()

    async def reload(self, epoch: str, window: Window, reason: ResetReason) -> None:
        """Go on with another window, and tell every subscriber that it may have missed events."""
        old = self._window
        self._epoch, self._window, self._settled = epoch, window, window.head
        members = self.subscribers
        for member in members:
            member.reset, member.behind = reason, True
        time_slice = TimeSlice()
        for member in members:
            self._serve(member)
            if time_slice.due:
                await time_slice.take()
        while old.dismantle():
            await time_slice.take()

    def reset(self, subscriber: Subscriber, reason: ResetReason) -> None:
        """Tell one subscriber that it may have missed events; it goes on from the head."""
        subscriber.reset, subscriber.behind = reason, True
        self._serve(subscriber)

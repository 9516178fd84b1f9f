"""The hub: fan-out inside one process.

What makes "no gap, no repeat" hold is one rule. A subscriber that is not behind has everything up
to `max(its position, settled)`; one that is behind has everything up to its position, and is served
from the window. `settled` moves only when a fan-out is over, the window before it begins.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial

from notifications import blocks
from notifications.breath import Breath
from notifications.chunks import MAX_CHUNK, Chunk, pack
from notifications.cursors import Cursor, Position
from notifications.errors import Invalid
from notifications.log.base import Batch, Entry, ResetReason
from notifications.subscribers import Audience, CloseReason, Start, Subscriber
from notifications.window import Window
from notifications.wire import Wire

logger = logging.getLogger("carillon")


class Hub:
    """Lives in one event loop, and is called only there."""

    def __init__(self, epoch: str, window: Window) -> None:
        self._epoch = epoch
        self._window = window
        self._settled = window.head
        self._audiences: dict[tuple[frozenset[str], bool], Audience] = {}
        self._by_topic: dict[str, dict[Audience, None]] = {}
        self._waiting: dict[Subscriber, float] = {}
        self._loop = asyncio.get_running_loop()
        self.left: Callable[[Subscriber], object] = lambda _: None
        """Called with each subscriber that has left."""

    @property
    def head(self) -> Cursor:
        """The last position that this process has read."""
        return Cursor(self._epoch, self._window.head)

    @property
    def subscribers(self) -> list[Subscriber]:
        return [member for audience in self._audiences.values() for member in audience.members]

    def hearing(self, topic: str) -> list[Subscriber]:
        """Whoever subscribed to a topic."""
        return [member for each in self._by_topic.get(topic, ()) for member in each.members]

    # Joining and leaving

    def subscribe(
        self,
        topics: frozenset[str],
        wire: Wire,
        start: Start,
        *,
        envelope: bool = False,
        denied: Collection[str] = (),
    ) -> Subscriber:
        """Take the cursor, join, and say where the stream goes on from, in one step of the loop."""
        place, reset = self._place(start)
        subscriber = Subscriber(self, self._audience(topics, envelope=envelope), wire, place)
        at = Cursor(self._epoch, place)
        opening = blocks.reset(at, reset) if reset else blocks.cursor(at)
        if denied:
            opening += blocks.denied(at, denied)
        if reset:
            self._write(subscriber, opening)
            return subscriber
        if place < self._window.head:
            subscriber.behind = True
            opening += self._next_chunk(subscriber, room=MAX_CHUNK - len(opening))
        self._write(subscriber, opening)
        self._go_on(subscriber)
        return subscriber

    def _place(self, start: Start) -> tuple[Position, ResetReason | None]:
        """Where a stream goes on from. A cursor ahead of this process is taken at its word."""
        head = self._window.head
        if start.since_ms is not None:
            return self._window.place_at(start.since_ms), None
        if start.cursor is None:
            return head, None
        try:
            cursor = Cursor.parse(start.cursor)
        except Invalid:
            return head, ResetReason.UNKNOWN
        if cursor.epoch != self._epoch:
            return head, ResetReason.LOG_LOST
        if cursor.position < self._window.floor:
            return head, ResetReason.TRIMMED
        return cursor.position, None

    def _audience(self, topics: frozenset[str], *, envelope: bool) -> Audience:
        audience = self._audiences.get((topics, envelope))
        if audience is None:
            audience = self._audiences[topics, envelope] = Audience(topics, envelope)
            for topic in topics:
                self._by_topic.setdefault(topic, {})[audience] = None
        return audience

    def leave(self, subscriber: Subscriber, reason: CloseReason) -> None:
        """The stream is over. Its wire is not touched; a second reason is not heard."""
        if not subscriber.open:
            return
        subscriber.open = False
        self._waiting.pop(subscriber, None)
        audience = subscriber.audience
        del audience.members[subscriber]
        if not audience.members:
            del self._audiences[audience.topics, audience.envelope]
            for topic in audience.topics:
                del self._by_topic[topic][audience]
                if not self._by_topic[topic]:
                    del self._by_topic[topic]
        self.left(subscriber)
        quiet = reason in (CloseReason.CLIENT_LEFT, CloseReason.DRAINING, CloseReason.STOPPING)
        logger.log(
            logging.DEBUG if quiet else logging.INFO,
            "stream.closed reason=%s topics=%d",
            reason,
            len(audience.topics),
        )

    def close(self, subscriber: Subscriber, reason: CloseReason) -> None:
        """End the stream, and say why where the wire still can."""
        if not subscriber.open:
            return
        self.leave(subscriber, reason)
        if reason is CloseReason.WRITE_FAILED or subscriber.wire.busy:
            subscriber.wire.abort()
        else:
            subscriber.wire.end(blocks.closing(reason))

    # Fan-out

    async def deliver(self, batch: Batch) -> None:
        """Take a batch from the tail, and bring it to everyone concerned before the next."""
        self._window.append(batch)
        breath = Breath()
        touched, by_topic = await self._concerned(batch.entries, breath)
        for audience, chunks in self._packed(touched, by_topic):
            for chunk in chunks:
                for member in tuple(audience.members):
                    self._hand(member, chunk)
                    if breath.due:
                        await breath.take()
        self._settled = self._window.head

    async def _concerned(
        self, entries: Sequence[Entry], breath: Breath
    ) -> tuple[dict[Audience, list[str]], dict[str, list[Entry]]]:
        """The audiences, each with those of its topics that have events in the batch."""
        by_topic: dict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            for topic in entry.topics:
                if topic in self._by_topic:
                    by_topic[topic].append(entry)
        touched: dict[Audience, list[str]] = {}
        for topic in by_topic:
            for audience in tuple(self._by_topic.get(topic, ())):
                touched.setdefault(audience, []).append(topic)
                if breath.due:
                    await breath.take()
        return touched, by_topic

    def _packed(
        self, touched: dict[Audience, list[str]], by_topic: dict[str, list[Entry]]
    ) -> Iterator[tuple[Audience, list[Chunk]]]:
        """The chunks for each audience; audiences that want the same bytes share them."""
        made: dict[object, list[Chunk]] = {}
        for audience, topics in touched.items():
            key = (tuple(topics), audience.topics if audience.envelope else None)
            chunks = made.get(key)
            if chunks is None:
                unique = {entry.position: entry for topic in topics for entry in by_topic[topic]}
                wanted = [unique[position] for position in sorted(unique)]
                chunks = made[key] = list(pack(wanted, partial(self._block, audience)))
            yield audience, chunks

    def _hand(self, member: Subscriber, chunk: Chunk) -> None:
        """The chunk to a member that has all before it and none of it; others catch up later."""
        if not member.open or member.behind or member.position >= chunk.last:
            return
        if member.wire.busy or member.position >= chunk.first:
            member.position = max(member.position, self._settled)
            member.behind = True
            self._serve(member)
        else:
            member.position = chunk.last
            self._write(member, chunk.data)

    # One subscriber

    def drained(self, subscriber: Subscriber) -> None:
        self._waiting.pop(subscriber, None)
        self._serve(subscriber)

    def lost(self, subscriber: Subscriber) -> None:
        self.close(subscriber, CloseReason.WRITE_FAILED)

    def _serve(self, subscriber: Subscriber) -> None:
        """Hand over the next chunk of what is due, if the wire takes one."""
        if not subscriber.open or not subscriber.behind or subscriber.wire.busy:
            return
        if subscriber.reset:
            reason, subscriber.reset = subscriber.reset, None
            subscriber.position = self._window.head
            subscriber.behind = False
            self._write(subscriber, blocks.reset(self.head, reason))
        elif subscriber.position < self._window.floor:
            self.close(subscriber, CloseReason.FELL_BEHIND)
        else:
            self._write(subscriber, self._next_chunk(subscriber, room=MAX_CHUNK))
            self._go_on(subscriber)

    def _next_chunk(self, subscriber: Subscriber, *, room: int) -> bytes:
        """What follows its position in the window, at most `room` bytes or one event."""
        audience = subscriber.audience
        pieces: list[bytes] = []
        for entry in self._window.following(audience.topics, subscriber.position):
            block = self._block(audience, entry)
            room -= len(block)
            if pieces and room < 0:
                return b"".join(pieces)
            pieces.append(block)
            subscriber.position = entry.position
        subscriber.position = max(subscriber.position, self._window.head)
        subscriber.behind = False
        return b"".join(pieces)

    def _go_on(self, subscriber: Subscriber) -> None:
        """A wire that takes everything at once is served on in the next round of the loop."""
        if subscriber.behind and not subscriber.wire.busy:
            self._loop.call_soon(self._serve, subscriber)

    def _write(self, subscriber: Subscriber, data: bytes) -> None:
        if data:
            subscriber.wire.write(data)
            if subscriber.wire.busy:
                self._waiting[subscriber] = self._loop.time()

    def _block(self, audience: Audience, entry: Entry) -> bytes:
        if audience.envelope:
            return blocks.enveloped(self._epoch, entry, audience.topics)
        return blocks.event(self._epoch, entry)

    # What goes on without events

    def keep_alive(self, subscriber: Subscriber) -> None:
        """Tell a caught-up subscriber its place, so that its cursor never grows old."""
        if subscriber.open and not subscriber.behind and not subscriber.wire.busy:
            place = max(subscriber.position, self._settled)
            self._write(subscriber, blocks.cursor(Cursor(self._epoch, place)))

    def close_the_slow(self, *, deadline: float) -> None:
        """Close the streams whose wire has been busy with one chunk for `deadline` seconds."""
        oldest = self._loop.time() - deadline
        while self._waiting:
            subscriber, since = next(iter(self._waiting.items()))
            if since > oldest:
                return
            self.close(subscriber, CloseReason.TOO_SLOW)

    def trim(self, *, now_ms: int) -> None:
        self._window.trim(now_ms=now_ms)

    async def reload(self, epoch: str, window: Window, reason: ResetReason) -> None:
        """Go on with another window, and tell every subscriber that it may have missed events."""
        self._epoch, self._window, self._settled = epoch, window, window.head
        members = self.subscribers
        for member in members:
            member.reset, member.behind = reason, True
        breath = Breath()
        for member in members:
            self._serve(member)
            if breath.due:
                await breath.take()

    def reset(self, subscriber: Subscriber, reason: ResetReason) -> None:
        """Tell one subscriber that it may have missed events; it goes on from the head."""
        subscriber.reset, subscriber.behind = reason, True
        self._serve(subscriber)

    async def close_all(self, reason: CloseReason) -> None:
        breath = Breath()
        for member in self.subscribers:
            self.close(member, reason)
            if breath.due:
                await breath.take()

"""The hub: fan-out inside one process, from a batch of the log to the transport of each subscriber.

One rule gives "no gap, no repeat". A subscriber that is not behind has everything up to
`max(its position, settled)`. A subscriber that is behind has everything up to its position, and the
window serves it the rest. `settled` moves only when a fan-out is over; the window moves before the
fan-out begins.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import batched

from notifications.hub.audiences import Audiences
from notifications.hub.encoders import PLAIN, Encoder
from notifications.hub.payloads import MAX_CHUNK_BYTES, Chunk, KeepAliveCache, pack
from notifications.hub.resume import resolve_start, resolve_topic_starts, take_backlog, take_opening
from notifications.hub.scheduling import FairQueue, Timing
from notifications.hub.slow_subscribers import SlowSubscribers
from notifications.hub.subscribers import CloseReason, Start, Subscriber
from notifications.hub.window import Window
from notifications.log.cursors import Cursor, Position, make_position, position_ms
from notifications.log.entries import Batch, ResetReason
from notifications.telemetry.counters import process_counters
from notifications.telemetry.logs import logger
from notifications.telemetry.tracing import delivery_span
from notifications.transport.base import Loss, Payload, Transport


class Hub:
    """Brings batches to subscribers. Use it only in the event loop in which it was made."""

    def __init__(self, epoch: str, window: Window, *, timing: Timing | None = None) -> None:
        self.timing = timing or Timing()
        self._epoch = epoch
        self._window = window
        self._settled = window.head
        self._audiences = Audiences(stride=self.timing.stride)
        self._slow = SlowSubscribers(self.timing.clock)
        self._queue = FairQueue(self._serve, time_slice=self.timing.time_slice)
        self._keepalives = KeepAliveCache()
        self.on_leave: list[Callable[[Subscriber, CloseReason], object]] = []
        """Called with each subscriber that has left, and why."""

    @property
    def head(self) -> Cursor:
        """The last position read. Threads ask too, so `reload` sets the window before the epoch."""
        return Cursor(self._epoch, self._window.head)

    @property
    def window(self) -> Window:
        return self._window

    @property
    def subscribers(self) -> list[Subscriber]:
        return [member for audience in self._audiences for member in audience.members]

    def subscribed_to(self, topic: str) -> list[Subscriber]:
        audiences = self._audiences.subscribed_to(topic)
        return [member for audience in audiences for member in audience.members]

    @property
    def slow(self) -> int:
        """How many subscribers have not taken their last payload yet."""
        return len(self._slow)

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
        """Resolve the start, join the audience and write the opening, in one step of the loop."""
        window, epoch = self._window, self._epoch
        position, reset = resolve_start(start, topics, window, epoch)
        first = {topic: make_position(ms) for topic, ms in since.items()} if since else {}
        lost: Collection[str] = topics
        if start.cursors:
            position, later, lost = resolve_topic_starts(start.cursors, self.head, window)
            first |= {topic: max(at, first.get(topic, at)) for topic, at in later.items()}
            reset = ResetReason.UNKNOWN if lost else None
        audience = self._audiences.of(topics, encoder)
        now = self.timing.clock()
        subscriber = Subscriber(
            self, audience, transport, position, opened_at=now, subjects=subjects
        )
        process_counters.opened += 1
        if first:
            subscriber.limit_history(first, head=window.head)
        is_usual = not (reset or denied or start.page_user)
        if encoder.opens_with_cursor and is_usual and position >= window.head:
            opening = self._keepalives.at(epoch, position, encoder)
        else:
            blocks = take_opening(subscriber, window, epoch, reset, lost, denied, start.page_user)
            opening = Payload(blocks)
        self._write(subscriber, opening, subscriber.position)
        self._serve_soon(subscriber)
        return subscriber

    def leave(self, subscriber: Subscriber, reason: CloseReason) -> None:
        """Forget a stream that is over; its transport sends nothing more. The first reason counts.

        By then nothing here refers to it, so that the last reference elsewhere frees it.
        """
        if subscriber.open:
            self._forget(subscriber, reason)
            subscriber.release()

    def _forget(self, subscriber: Subscriber, reason: CloseReason) -> None:
        subscriber.mark_closed()
        self._slow.discard(subscriber)
        self._audiences.leave(subscriber)
        for callback in self.on_leave:
            callback(subscriber, reason)
        process_counters.closed[reason] += 1
        if logger.isEnabledFor(reason.level):
            subscriber.log_end(reason, now=self.timing.clock())

    def close(
        self, subscriber: Subscriber, reason: CloseReason, *, topics: Collection[str] = ()
    ) -> None:
        """End a stream, and give its client the reason and the `topics` that it is about."""
        if subscriber.open:
            self._forget(subscriber, reason)
            if subscriber.end(reason, topics):
                self._slow.add(subscriber)
            else:
                subscriber.release()

    # Fan-out

    async def deliver(self, batch: Batch) -> None:
        """Write a batch of the tail to the subscribers of its topics.

        Call it again only after it has returned.
        """
        self._window.append(batch)
        before = process_counters.delivered
        await self._deliver(batch)
        self._settled = self._window.head
        process_counters.read += len(batch.records)
        if process_counters.delivered != before:
            process_counters.record_latency(position_ms(batch.records[0][0]))

    async def _deliver(self, batch: Batch) -> None:
        time_slice = self.timing.time_slice()
        groups = await self._audiences.concerned(batch.records, time_slice)
        with delivery_span(entry.trace for group in groups for entry in group.entries):
            for group in groups:
                for chunk in pack(group.entries, group.audience, self._epoch):
                    for members in batched(group.members, self.timing.stride):
                        if chunk.skip:
                            self._defer_skipped(members, chunk.skip)
                        self._fan_out(members, chunk)
                        if time_slice.expired:
                            await time_slice.pause()

    def _fan_out(self, members: Sequence[Subscriber], chunk: Chunk) -> None:
        """Write the chunk to the members that have everything before it and none of its events.

        A member that has all of it is left alone; any other member catches up from the window.
        """
        first, last, payload = chunk.first, chunk.last, chunk.payload
        written = 0
        for member in members:
            if member.behind or member.position >= last or not member.open:
                continue
            if member.transport.busy or member.position >= first:
                self._fall_behind(member)
            else:
                self._write(member, payload, last)
                written += 1
        process_counters.delivered += written * chunk.count

    def _defer_skipped(self, members: Sequence[Subscriber], skip: frozenset[str]) -> None:
        """If an event of the chunk skips a member, it gets the other events from the window."""
        for member in members:
            if member.open and not member.behind and member.has_subject_in(skip):
                self._fall_behind(member)

    def _fall_behind(self, member: Subscriber) -> None:
        member.fall_behind(self._settled)
        self._serve_soon(member)

    # Catching up

    def drained(self, subscriber: Subscriber) -> None:
        self._slow.discard(subscriber)
        if subscriber.open:
            self._serve_soon(subscriber)
        else:  # the closing block is sent
            subscriber.release()

    def lost(self, subscriber: Subscriber, loss: Loss = Loss.FAILED) -> None:
        if loss is Loss.LEFT:
            self.leave(subscriber, CloseReason.CLIENT_LEFT)
        elif subscriber.open:
            self.close(subscriber, CloseReason(loss))
        else:
            self._slow.discard(subscriber)
            self._drop(subscriber)

    def _drop(self, subscriber: Subscriber) -> None:
        """The closing block cannot be sent."""
        subscriber.transport.abort()
        subscriber.release()

    def _serve_soon(self, subscriber: Subscriber) -> None:
        """Queue a subscriber that is behind: many may be ready to be served at the same time."""
        if subscriber.behind and not subscriber.transport.busy:
            self._queue.add(subscriber)

    def _serve(self, subscriber: Subscriber) -> None:
        """Write the next payload to a subscriber that is behind, if its transport takes one."""
        if not subscriber.open or not subscriber.behind or subscriber.transport.busy:
            return
        if reason := subscriber.pending_reset:
            process_counters.resets[reason] += 1
            block = subscriber.audience.encoder.reset(self.head, reason)
            subscriber.reset_to(self._window.head)
            self._write(subscriber, Payload(block), subscriber.position)
        elif subscriber.position < self._window.floor:
            self.close(subscriber, CloseReason.FELL_BEHIND)
        else:
            backlog = take_backlog(subscriber, self._window, self._epoch, room=MAX_CHUNK_BYTES)
            if backlog:
                self._write(subscriber, Payload(backlog), subscriber.position)
            self._serve_soon(subscriber)

    def _write(self, subscriber: Subscriber, payload: Payload, position: Position) -> None:
        """Write a payload with which the subscriber has everything up to `position`."""
        try:
            subscriber.send(payload, position)
        except Exception:
            # An unforeseen fault of one transport costs that stream, and not the whole fan-out.
            logger.exception("transport.failed")
            self.close(subscriber, CloseReason.WRITE_FAILED)
            return
        if subscriber.transport.busy:
            self._slow.add(subscriber)

    # What happens without events

    def keep_alive(self, subscriber: Subscriber) -> None:
        """Write the position of a caught-up subscriber, so that its cursor never grows old."""
        if subscriber.open and not subscriber.behind and not subscriber.transport.busy:
            position = max(subscriber.position, self._settled)
            keepalive = self._keepalives.at(self._epoch, position, subscriber.audience.encoder)
            self._write(subscriber, keepalive, subscriber.position)

    def continuation_of(self, subscriber: Subscriber) -> Start:
        """The start of a stream that replaces this one in the same step of the event loop."""
        if subscriber.pending_reset:
            # An empty cursor cannot be parsed, so the new stream begins with a reset.
            return Start(cursor="")
        return Start(cursor=Cursor(self._epoch, subscriber.reached(self._settled)))

    async def close_slow_subscribers(self, *, deadline: float) -> None:
        """Close the streams that have not taken their last payload within `deadline` seconds."""
        time_slice = self.timing.time_slice()
        for subscriber in self._slow.overdue(deadline):
            if subscriber.open:
                self.close(subscriber, CloseReason.TOO_SLOW)
            else:
                self._drop(subscriber)
            if time_slice.expired:
                await time_slice.pause()

    async def trim(self, *, now_ms: int) -> None:
        """Remove the events from the window that retention does not keep."""
        time_slice = self.timing.time_slice()
        while self._window.trim(now_ms=now_ms):
            await time_slice.pause()

    async def reload(self, epoch: str, window: Window, reason: ResetReason) -> None:
        """Replace the window. Every subscriber gets a reset, because it may have missed events."""
        old = self._window
        self._window, self._epoch, self._settled = window, epoch, window.head
        members = self.subscribers
        for member in members:
            member.require_reset(reason)
        time_slice = self.timing.time_slice()
        for member in members:
            self._serve(member)
            if time_slice.expired:
                await time_slice.pause()
        while old.dismantle():
            await time_slice.pause()

    def reset(self, subscriber: Subscriber, reason: ResetReason) -> None:
        """Send a reset to one subscriber, which may have missed events; it goes on at the head."""
        subscriber.require_reset(reason)
        self._serve(subscriber)

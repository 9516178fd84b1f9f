"""Token streams: a text that is still being written, published while it grows.

    async with token_stream("chat.5.answer-1") as out:
        async for token in model.generate(prompt):
            await out.send(token)

A subscriber with `since=all` gets the whole text once, however late it comes and however often it
reconnects: the log has the text, and the cursor says how much of it the subscriber has. The writer
knows no subscriber; only a stop event reaches it.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any, Self

from notifications.conf import get_settings
from notifications.conf import namespace as namespaces
from notifications.errors import Unavailable
from notifications.events import Event
from notifications.hub.grants import Grant
from notifications.hub.stream import EventStream
from notifications.hub.subscribers import Start
from notifications.publishing.publisher import apublish
from notifications.sse import Decoder
from notifications.telemetry.logs import logger
from notifications.topics import parse_topic

BEGIN, TOKEN, DONE, FAILED, STOP = "begin", "token", "done", "failed", "stop"
"""The types of the events. `failed` is not `error`, which browsers use themselves."""

TOKEN_EVENTS_PER_SECOND = 10.0
MAX_BYTES_PER_CHARACTER = 8
"""In JSON, with room for the fields around the text."""
RETRY_SECONDS = 30.0
"""How long an event is retried while the log is unavailable."""
RETRY_PAUSE_SECONDS = 0.5
FAILED_EVENT_SECONDS = 5.0
"""How long a writer that fails waits, at most, until its last events are published."""


class Stopped(Exception):
    """A reader has stopped the text. The block of `token_stream` that it leaves ends well."""


def stop_topic(topic: str) -> str:
    """The topic on which a `stop` event stops the text that is written to `topic`."""
    return parse_topic(f"{topic}.stop")


class TokenStream:
    """The writer of one text. `text` is everything that was sent so far, for storing it."""

    def __init__(
        self,
        topic: str,
        *,
        per_second: float = TOKEN_EVENTS_PER_SECOND,
        retry_seconds: float = RETRY_SECONDS,
        retry_pause_seconds: float = RETRY_PAUSE_SECONDS,
        publish: Callable[..., Coroutine[Any, Any, Event]] = apublish,
    ) -> None:
        self.topic = parse_topic(topic)
        self.id = secrets.token_hex(8)
        self.stopped = False
        self._pieces: list[str] = []
        self._pause_seconds = 1 / per_second
        self._retry_seconds = retry_seconds
        self._retry_pause_seconds = retry_pause_seconds
        self._apublish = publish
        self._namespace = ""
        self._max_characters = max(1, get_settings().MAX_EVENT_BYTES // MAX_BYTES_PER_CHARACTER)
        self._unpublished = ""
        self._published_characters = 0
        self._event_number = 0
        self._has_ended = False
        self._failure: BaseException | None = None
        self._has_text, self._has_room = asyncio.Event(), asyncio.Event()

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    async def send(self, text: str) -> None:
        """Add to the text. It is published soon, together with the text that follows until then.

        Waits only if far more text is unpublished than one event can hold. Raises `Stopped` once a
        reader has stopped the text, and `Unavailable` if the log has been away for too long.
        """
        if self._has_ended:
            raise RuntimeError("The text has ended.")
        self._pieces.append(text)
        self._unpublished += text
        self._has_text.set()
        while len(self._unpublished) > 2 * self._max_characters and not (
            self.stopped or self._failure
        ):
            self._has_room.clear()
            await self._has_room.wait()
        if self.stopped:
            raise Stopped
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop the text as a reader does: the next `send` raises `Stopped`."""
        self.stopped = True
        self._has_room.set()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Self]:
        """Publish `begin`, then the text that the block sends, then `done` or `failed`."""
        self._namespace = await namespaces.acurrent()
        if self._namespace:
            self._apublish = partial(self._apublish, namespace=self._namespace)
        cursor = await self._publish(BEGIN, {})
        publishing = asyncio.create_task(self._publish_text())
        watching = asyncio.create_task(self._watch_for_stop(cursor))
        watching.add_done_callback(_log_failure)
        try:
            with suppress(Stopped):
                yield self
            await self._publish_remaining_text(publishing)
            await self._publish_end(DONE, stopped=self.stopped)
        except BaseException as error:
            await self._publish_failure(publishing, error)
            raise
        finally:
            watching.cancel()
            publishing.cancel()

    async def _publish_remaining_text(self, publishing: "asyncio.Task[None]") -> None:
        """Have the rest of the text published, without a pause."""
        self._has_ended = True
        self._has_text.set()
        await publishing
        if self._failure is not None:
            raise self._failure

    async def _publish_end(self, type: str, **data: Any) -> None:
        await self._publish(type, {"length": self._published_characters, **data})

    async def _publish_failure(
        self, publishing: "asyncio.Task[None]", error: BaseException
    ) -> None:
        """Publish the rest and `failed`, if the log takes them soon: the caller waits for it."""

        async def publish_last_events() -> None:
            with suppress(Unavailable):
                await self._publish_remaining_text(publishing)
                await self._publish_end(FAILED, reason=_reason(error))

        ending = asyncio.create_task(publish_last_events())
        done, _ = await asyncio.wait([ending], timeout=FAILED_EVENT_SECONDS)
        if not done:
            ending.cancel()

    # The task that publishes

    async def _publish_text(self) -> None:
        """Publish the text, with a pause after each event, until it has ended."""
        loop = asyncio.get_running_loop()
        due = 0.0
        try:
            while not self._has_ended or self._unpublished:
                if not self._unpublished:
                    self._has_text.clear()
                    await self._has_text.wait()
                    continue
                if not self._has_ended:
                    await asyncio.sleep(due - loop.time())
                due = loop.time() + self._pause_seconds
                await self._publish_piece()
        except Unavailable as error:
            self._failure = error
            self._has_room.set()

    async def _publish_piece(self) -> None:
        piece = self._unpublished[: self._max_characters]
        await self._publish(TOKEN, {"at": self._published_characters, "text": piece})
        self._unpublished = self._unpublished[len(piece) :]
        self._published_characters += len(piece)
        self._has_room.set()

    async def _publish(self, type: str, data: dict[str, Any]) -> str:
        """Publish once and return the cursor, however many attempts it takes.

        The key makes a repetition safe: Redis may have kept an event that it did not acknowledge.
        """
        self._event_number += 1
        key = f"{self.id}.{self._event_number}"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._retry_seconds
        while True:
            try:
                fields = {"stream": self.id, **data}
                event = await self._apublish(self.topic, fields, type=type, idempotency_key=key)
            except Unavailable:
                if loop.time() >= deadline:
                    raise
                await asyncio.sleep(self._retry_pause_seconds)
            else:
                assert event.cursor is not None
                return event.cursor

    # The task that waits for a stop

    async def _watch_for_stop(self, since: str) -> None:
        async with aclosing(self._stops(since)) as stops:
            async for stream_id in stops:
                if stream_id in (None, self.id):
                    self.stop()
                    return

    async def _stops(self, since: str) -> AsyncGenerator[str | None]:
        """For each stop event after a cursor: the id of the text that it names, if any."""
        topic, cursor = stop_topic(self.topic), since
        while True:
            decoder = Decoder()
            grant = Grant(topics=(topic,), namespace=self._namespace)
            stream = EventStream(grant, Start(cursor=cursor))
            async with aclosing(stream):
                async for chunk in stream:
                    for event in decoder.feed(chunk):
                        cursor = event.id or cursor
                        if event.type == STOP:
                            yield _stream_id(event.data)
            # The stream of a process that has just started may end at once.
            await asyncio.sleep(self._retry_pause_seconds)


def token_stream(
    topic: str,
    *,
    per_second: float = TOKEN_EVENTS_PER_SECOND,
    retry_seconds: float = RETRY_SECONDS,
) -> AbstractAsyncContextManager[TokenStream]:
    """Write a text to a topic, in at most `per_second` events: `begin`, `token`s, and an end.

    The end is `done`, with `"stopped": true` if a reader stopped the text, or `failed` if the block
    raised; the error then goes on to the caller. While the log is unavailable, an event is retried
    for `retry_seconds`. A reader stops the text by a `stop` event on `stop_topic(topic)`.
    """
    return TokenStream(topic, per_second=per_second, retry_seconds=retry_seconds).writing()


def _reason(error: BaseException) -> str:
    is_cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit)
    return "cancelled" if is_cancelled else "error"


def _stream_id(data: str) -> str | None:
    try:
        fields = json.loads(data)
    except ValueError:
        return None
    stream_id = fields.get("stream") if isinstance(fields, dict) else None
    return None if stream_id is None else str(stream_id)


def _log_failure(watching: "asyncio.Task[None]") -> None:
    if not watching.cancelled() and (error := watching.exception()) is not None:
        logger.error("token_stream.stop_unwatched", exc_info=error)

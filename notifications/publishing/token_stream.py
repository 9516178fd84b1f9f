"""Token streams: a text that is still being written, published as it grows.

    async with token_stream("chat.5.answer-1") as out:
        async for token in model.generate(prompt):
            await out.send(token)

Whoever subscribes with `since=all` has the whole text once, however late, however often they come
back: the text is in the log, and the cursor says how much of it they have. Nobody who reads or
leaves concerns the writer, but for one who stops it.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from notifications.conf import get_settings
from notifications.errors import Unavailable
from notifications.hub.grants import Grant
from notifications.hub.stream import EventStream
from notifications.hub.subscribers import Start
from notifications.publishing.publisher import apublish
from notifications.sse import Decoder
from notifications.topics import topic as check_topic

logger = logging.getLogger("carillon")

BEGIN, TOKEN, DONE, FAILED, STOP = "begin", "token", "done", "failed", "stop"
"""The types of the events. Browsers keep `error` for themselves."""

PER_SECOND = 10.0
BYTES_PER_CHARACTER = 8
"""At most, in JSON, with room for what is around it."""
PATIENCE = 30.0
PAUSE = 0.5
PARTING = 5.0


class Stopped(Exception):
    """A reader has stopped the text: nobody wants the rest. The block that it leaves ends well."""


def stop_topic(topic: str) -> str:
    """Whoever may publish here may stop what is written to `topic`."""
    return check_topic(f"{topic}.stop")


class TokenStream:
    """The way in for one text. `text` is what was sent so far, for whoever wants to keep it."""

    def __init__(self, topic: str, *, per_second: float, patience: float) -> None:
        self.topic = check_topic(topic)
        self.id = secrets.token_hex(8)
        self.stopped = False
        self._pieces: list[str] = []
        self._pause = 1 / per_second
        self._patience = patience
        self._most = max(1, get_settings().MAX_EVENT_BYTES // BYTES_PER_CHARACTER)
        self._waiting = ""
        self._at = 0
        self._numbers = 0
        self._over = False
        self._failure: BaseException | None = None
        self._news, self._room = asyncio.Event(), asyncio.Event()

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    async def send(self, text: str) -> None:
        """Add to the text; it is published soon, with what else comes until then.

        Waits only if far more is waiting than can be published. Raises `Stopped` once a reader has
        stopped it, and `Unavailable` if the log has been away for too long.
        """
        if self._over:
            raise RuntimeError("The text has ended.")
        self._pieces.append(text)
        self._waiting += text
        self._news.set()
        while len(self._waiting) > 2 * self._most and not (self.stopped or self._failure):
            self._room.clear()
            await self._room.wait()
        if self.stopped:
            raise Stopped
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """As a reader does: the next `send` raises `Stopped`."""
        self.stopped = True
        self._room.set()

    # Within the block of `token_stream`

    async def begin(self) -> str:
        """Its cursor."""
        return await self._publish(BEGIN, {})

    async def write(self) -> None:
        """Publish what comes, at most so often, until `finish`."""
        loop = asyncio.get_running_loop()
        due = 0.0
        try:
            while not self._over or self._waiting:
                if not self._waiting:
                    self._news.clear()
                    await self._news.wait()
                    continue
                if not self._over:
                    await asyncio.sleep(due - loop.time())
                due = loop.time() + self._pause
                await self._publish_some()
        except Unavailable as error:
            self._failure = error
            self._room.set()

    async def _publish_some(self) -> None:
        piece = self._waiting[: self._most]
        await self._publish(TOKEN, {"at": self._at, "text": piece})
        self._waiting = self._waiting[len(piece) :]
        self._at += len(piece)
        self._room.set()

    async def finish(self, writing: "asyncio.Task[None]") -> None:
        """Let what is waiting be published, without a pause."""
        self._over = True
        self._news.set()
        await writing
        if self._failure is not None:
            raise self._failure

    async def end(self, type: str, **data: Any) -> None:
        await self._publish(type, {"length": self._at, **data})

    async def listen(self, since: str) -> None:
        """Hear who stops it."""
        async with aclosing(_stops(stop_topic(self.topic), since)) as stops:
            async for named in stops:
                if named in (None, self.id):
                    self.stop()
                    return

    async def _publish(self, type: str, data: dict[str, Any]) -> str:
        """Once, however often it takes. The key says so, since Redis may have had it after all."""
        self._numbers += 1
        key = f"{self.id}.{self._numbers}"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        while True:
            try:
                whole = {"stream": self.id, **data}
                event = await apublish(self.topic, whole, type=type, idempotency_key=key)
            except Unavailable:
                if loop.time() >= deadline:
                    raise
                await asyncio.sleep(PAUSE)
            else:
                assert event.cursor is not None
                return event.cursor


@asynccontextmanager
async def token_stream(
    topic: str, *, per_second: float = PER_SECOND, patience: float = PATIENCE
) -> AsyncIterator[TokenStream]:
    """A text on a topic, in at most so many events a second: `begin`, `token`s, and an end.

    The end is `done`, with `"stopped": true` if a reader stopped it, or `failed` if the block
    raised, which goes on to whoever called. A log that is away is waited for, for `patience`
    seconds. Readers stop it by an event on the topic `stop_topic(topic)`.
    """
    out = TokenStream(topic, per_second=per_second, patience=patience)
    since = await out.begin()
    writing = asyncio.create_task(out.write())
    listening = asyncio.create_task(out.listen(since))
    listening.add_done_callback(_tell)
    try:
        with suppress(Stopped):
            yield out
        await out.finish(writing)
        await out.end(DONE, stopped=out.stopped)
    except BaseException as error:
        await _fail(out, writing, error)
        raise
    finally:
        listening.cancel()
        writing.cancel()


async def _fail(out: TokenStream, writing: "asyncio.Task[None]", error: BaseException) -> None:
    """Say so where it can still be said, without keeping whoever ends it waiting for long."""

    async def last_words() -> None:
        with suppress(Unavailable):
            await out.finish(writing)
            await out.end(FAILED, reason="cancelled" if _is_end(error) else "error")

    telling = asyncio.create_task(last_words())
    done, _ = await asyncio.wait([telling], timeout=PARTING)
    if not done:
        telling.cancel()


def _is_end(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError | GeneratorExit)


async def _stops(topic: str, since: str) -> AsyncGenerator[str | None]:
    """Of each stop after a cursor, which text it names, if any."""
    cursor = since
    while True:
        decoder = Decoder()
        stream = EventStream(Grant(topics=(topic,)), Start(cursor=cursor))
        async with aclosing(stream):
            async for chunk in stream:
                for event in decoder.feed(chunk):
                    cursor = event.id or cursor
                    if event.type == STOP:
                        yield _named(event.data)
        await asyncio.sleep(PAUSE)  # a process that has just started has nothing to hear yet


def _named(data: str) -> str | None:
    try:
        said = json.loads(data)
    except ValueError:
        return None
    named = said.get("stream") if isinstance(said, dict) else None
    return None if named is None else str(named)


def _tell(listening: "asyncio.Task[None]") -> None:
    if not listening.cancelled() and (error := listening.exception()) is not None:
        logger.error("token_stream.deaf", exc_info=error)

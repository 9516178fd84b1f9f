"""Subscribers that come back as browsers do, and publishers that keep what they were told."""

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Self

import httpx

from notifications.errors import Unavailable
from notifications.events import Event
from notifications.log.base import Draft
from notifications.log.cursors import Cursor
from notifications.log.redis_sync import RedisAppender
from notifications.publishing.publisher import fingerprint
from tests.harness.checker import Heard, Outcome, Publication, last_of, violations
from tests.harness.event_source import Stream, subscribe
from tests.harness.servers import PUBLISH_KEY

PAUSE = 0.02
PATIENCE = 60.0


class Listener:
    """One subscriber, at one address after the other, for as long as it runs."""

    def __init__(self, name: str, ports: Sequence[int], topics: Sequence[str]) -> None:
        self.heard = Heard(name, frozenset(topics))
        self.ends = 0
        self.said = asyncio.Condition()
        self._stream: Stream | None = None
        self._ports = ports

    async def run(self) -> None:
        for number in count():
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                await self._listen(self._ports[number % len(self._ports)])
            self.ends += 1
            await asyncio.sleep(PAUSE)

    async def _listen(self, port: int) -> None:
        cursor = self.heard.cursor
        brought = str(cursor) if cursor else None
        async with subscribe(port, *sorted(self.heard.topics), cursor=brought) as stream:
            if stream.status != 200:
                return
            self._stream = stream
            async for event in stream:
                async with self.said:
                    self.heard.told(event)
                    self.said.notify_all()

    def cut(self) -> None:
        """Its connection is lost."""
        if self._stream is not None:
            self._stream.cut()

    async def has(self, last: Cursor) -> None:
        """Wait until it was told of that place, or of a later one."""
        async with asyncio.timeout(PATIENCE), self.said:
            await self.said.wait_for(lambda: _reaches(self.heard.cursor, last))


def _reaches(cursor: Cursor | None, last: Cursor) -> bool:
    return cursor is not None and cursor.epoch == last.epoch and cursor.position >= last.position


class Talker:
    """One publisher, of one event after the other. With `keys` it repeats what is in doubt."""

    def __init__(self, name: str, topic: str, way: "Way", *, keys: bool) -> None:
        self.published: list[Publication] = []
        self.turn = asyncio.Lock()
        """Held while an event is published: whoever has it keeps this publisher silent."""
        self._name = name
        self._topic = topic
        self._way = way
        self._keys = keys
        self._news = asyncio.Condition()
        self._stopping = False

    def stop(self) -> None:
        """After the event that is under way."""
        self._stopping = True

    async def run(self) -> None:
        async with self._way:
            for number in count():
                if self._stopping:
                    return
                async with self.turn:
                    await self._publish(Publication(self._topic, f"{self._name} {number}"))
                async with self._news:
                    self._news.notify_all()
                await asyncio.sleep(PAUSE)

    async def more(self, number: int) -> None:
        """Wait until so many more have been acknowledged."""
        enough = self._acknowledged + number
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: self._acknowledged >= enough)

    _acknowledged = 0

    async def _publish(self, publication: Publication) -> None:
        self.published.append(publication)
        key = publication.data if self._keys else None
        publication.outcome, publication.cursor = await self._way.attempt(publication, key)
        while self._keys and publication.cursor is None and not self._stopping:
            await asyncio.sleep(PAUSE)
            publication.repeated = True
            outcome, publication.cursor = await self._way.attempt(publication, key)
            # Once in doubt, always, unless it is acknowledged.
            if publication.outcome == "not_sent" or publication.cursor is not None:
                publication.outcome = outcome
        if publication.cursor is not None:
            publication.when = time.monotonic()
            self._acknowledged += 1


type Answer = tuple[Outcome, Cursor | None]


class Way(ABC):
    """How to publish, and what is said."""

    def __init__(self) -> None:
        self.refusals: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    @abstractmethod
    async def attempt(self, publication: Publication, key: str | None) -> Answer: ...


class Http(Way):
    def __init__(self, port: int) -> None:
        super().__init__()
        self._url = f"http://127.0.0.1:{port}/publish/"
        self._client = httpx.AsyncClient(timeout=PATIENCE, trust_env=False)

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def attempt(self, publication: Publication, key: str | None) -> Answer:
        headers = {"Authorization": f"Bearer {PUBLISH_KEY}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        event = {"topic": publication.topic, "data": publication.data}
        try:
            answer = await self._client.post(self._url, json=event, headers=headers)
            said = answer.json()
        except (httpx.HTTPError, json.JSONDecodeError):
            return "unknown", None
        if answer.status_code in (200, 201):
            return "acknowledged", Cursor.parse(said["cursor"])
        outcome: Outcome = said.get("outcome", "unknown")
        self.refusals.append(outcome)
        return outcome, None


class Code(Way):
    """As `publish()` in a process that serves nobody."""

    def __init__(self, appender: RedisAppender) -> None:
        super().__init__()
        self._appender = appender

    async def attempt(self, publication: Publication, key: str | None) -> Answer:
        event = Event(topics=[publication.topic], data=publication.data)
        draft = Draft(event, key, fingerprint(publication.data.encode()), named=False)
        try:
            [receipt] = await asyncio.to_thread(self._appender.append, [draft])
        except Unavailable as error:
            self.refusals.append(error.outcome)
            return error.outcome, None
        return "acknowledged", receipt.cursor


@dataclass
class Crowd:
    listeners: Sequence[Listener]
    talkers: Sequence[Talker]

    @property
    def published(self) -> list[Publication]:
        return [each for talker in self.talkers for each in talker.published]

    async def more(self, number: int) -> None:
        """Wait until so much more of each publisher has been acknowledged."""
        await asyncio.gather(*(talker.more(number) for talker in self.talkers))

    async def together(self) -> None:
        """Wait until every subscriber was told of what is published now, or of later."""
        async with asyncio.timeout(PATIENCE):
            while True:
                await self.more(1)
                last = last_of(self.published)
                with suppress(TimeoutError):
                    async with asyncio.timeout(PATIENCE / 4):
                        await asyncio.gather(*(each.has(last) for each in self.listeners))
                        return

    @asynccontextmanager
    async def silence(self) -> AsyncIterator[None]:
        """Nobody publishes, and every subscriber was told of all there is."""
        await self.together()
        async with AsyncExitStack() as stack:
            for talker in self.talkers:
                await stack.enter_async_context(talker.turn)
            last = last_of(self.published)
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(each.has(last) for each in self.listeners))
            yield

    def forget(self) -> None:
        """What was looked through. What may still arrive is kept in mind."""
        for talker in self.talkers:
            talker.published[:] = [each for each in talker.published if each.cursor is None]
        for listener in self.listeners:
            listener.heard.forget()

    def violations(self) -> list[str]:
        published = self.published
        return [said for each in self.listeners for said in violations(published, each.heard)]


@asynccontextmanager
async def crowd(listeners: Sequence[Listener], talkers: Sequence[Talker]) -> AsyncIterator[Crowd]:
    """All of them running, and each subscriber with its place in the log."""
    people = Crowd(listeners, talkers)
    async with asyncio.TaskGroup() as tasks:
        listening = [tasks.create_task(each.run()) for each in listeners]
        talking = [tasks.create_task(each.run()) for each in talkers]
        await people.together()
        try:
            yield people
        finally:
            for talker in talkers:
                talker.stop()
            if talking:
                await asyncio.wait(talking, timeout=PATIENCE)
            for task in listening:
                task.cancel()

"""The publisher of the tests: one event after the other, and the outcome of each."""

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Self

import httpx

from notifications.errors import Unavailable
from notifications.events import Event
from notifications.log.cursors import Cursor
from notifications.log.entries import Draft
from notifications.log.redis_sync import RedisSyncLog
from notifications.publishing.publisher import fingerprint
from tests.harness.changes import Changes
from tests.harness.checker import Outcome, Publication
from tests.harness.servers import PUBLISH_KEY

PAUSE_SECONDS = 0.02
DEADLINE_SECONDS = 60.0

type Result = tuple[Outcome, Cursor | None]


@dataclass(frozen=True)
class Refusal:
    """An answer that is no acknowledgement."""

    outcome: Outcome
    status: int = 0
    headers: httpx.Headers | None = None
    seconds: float = 0.0
    """From the request to its answer."""


class Sender(ABC):
    """A way to publish one event, once."""

    def __init__(self) -> None:
        self.refusals: list[Refusal] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    @abstractmethod
    async def send(self, publication: Publication, key: str | None) -> Result:
        """The outcome, and the cursor if the event was acknowledged. Never raises for a refusal."""


class HttpSender(Sender):
    """Posts to a server of ours."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.duplicates = 0
        """Acknowledgements of an event that the log had already."""
        self.failures: list[Exception] = []
        """Requests without an answer that could be read."""
        self._url = f"http://127.0.0.1:{port}/publish/"
        self._client = httpx.AsyncClient(timeout=DEADLINE_SECONDS, trust_env=False)

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def send(self, publication: Publication, key: str | None) -> Result:
        headers = {"Authorization": f"Bearer {PUBLISH_KEY}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        event = {"topic": publication.topic, "data": publication.data}
        began = time.monotonic()
        try:
            response = await self._client.post(self._url, json=event, headers=headers)
            content = response.json()
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            self.failures.append(error)
            return "unknown", None
        if response.status_code in (200, 201):
            self.duplicates += response.status_code == 200
            return "acknowledged", Cursor.parse(content["cursor"])
        outcome: Outcome = content.get("outcome", "unknown")
        seconds = time.monotonic() - began
        self.refusals.append(Refusal(outcome, response.status_code, response.headers, seconds))
        return outcome, None


class LogSender(Sender):
    """Appends to the log, as `publish()` does in a process that serves no streams."""

    def __init__(self, appender: RedisSyncLog) -> None:
        super().__init__()
        self._appender = appender

    async def send(self, publication: Publication, key: str | None) -> Result:
        event = Event(topics=[publication.topic], data=publication.data)
        draft = Draft(event, key, fingerprint(publication.data.encode()), named=False)
        try:
            [receipt] = await asyncio.to_thread(self._appender.append, [draft])
        except Unavailable as error:
            self.refusals.append(Refusal(error.outcome))
            return error.outcome, None
        return "acknowledged", receipt.cursor


class Publisher:
    """Publishes one event after the other, until it is stopped.

    With `keys` it repeats each event, with the same idempotency key, until it is acknowledged.
    """

    refused_pause_seconds = 0.1
    """After a failure, of which most come while the test waits for somebody to notice it."""

    def __init__(
        self,
        name: str,
        topic: str,
        sender: Sender,
        *,
        keys: bool = False,
        pause_seconds: float = PAUSE_SECONDS,
        deadline_seconds: float | None = DEADLINE_SECONDS,
    ) -> None:
        """`deadline_seconds` bounds `wait_for_acknowledged`; None: the caller sets a deadline."""
        self.published: list[Publication] = []
        self.attempted = 0
        """Events whose outcome is known; `published` may have one more, which is under way."""
        self.is_finished = False
        self.pause_seconds = pause_seconds
        self.sender = sender
        self.sending = asyncio.Lock()
        """Held while an event is published: its holder keeps this publisher silent."""
        self._name = name
        self._topic = topic
        self._keys = keys
        self._deadline_seconds = deadline_seconds
        self._changes = Changes()
        self._stopping = False
        self._acknowledged = 0

    def stop(self) -> None:
        """End after the event that is under way."""
        self._stopping = True

    async def run(self) -> None:
        try:
            async with self.sender:
                await self._run()
        finally:
            self.is_finished = True
            self._changes.notify()

    async def _run(self) -> None:
        for number in count():
            if self._stopping:
                return
            publication = Publication(self._topic, self.data(number))
            async with self.sending:
                await self._publish(publication)
            self._changes.notify()
            refused = publication.cursor is None
            await asyncio.sleep(self.refused_pause_seconds if refused else self.pause_seconds)

    def data(self, number: int) -> str:
        """The data of the event with this number."""
        return f"{self._name} {number}"

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait, without a deadline, for a condition that an outcome may bring about."""
        await self._changes.until(condition)

    async def wait_for_acknowledged(self, number: int) -> None:
        """Wait until so many more events have been acknowledged."""
        enough = self._acknowledged + number
        async with asyncio.timeout(self._deadline_seconds):
            await self.until(lambda: self._acknowledged >= enough)

    async def _publish(self, publication: Publication) -> None:
        self.published.append(publication)
        key = publication.data if self._keys else None
        publication.outcome, publication.cursor = await self.sender.send(publication, key)
        while self._keys and publication.cursor is None and not self._stopping:
            await asyncio.sleep(self.refused_pause_seconds)
            publication.repeated = True
            outcome, publication.cursor = await self.sender.send(publication, key)
            # An outcome that was unknown once stays unknown, unless it is acknowledged.
            if publication.outcome == "not_sent" or publication.cursor is not None:
                publication.outcome = outcome
        self.attempted += 1
        if publication.outcome == "acknowledged":
            publication.acknowledged_at = time.monotonic()
            self._acknowledged += 1

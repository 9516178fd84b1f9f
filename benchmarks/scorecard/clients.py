"""Subscribers that come back as a browser's EventSource does, and one publisher."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import httpx

from benchmarks.peers import MARK, TOPIC, Peer
from benchmarks.scorecard.contestants import Contestant
from benchmarks.scorecard.judge import TOLD, Seat
from notifications.log.cursors import Cursor
from notifications.sse import ServerSentEvent
from tests.harness.checker import Heard, Publication
from tests.harness.event_source import Stream

RETRY = 3.0
"""Seconds after which a browser comes back that was not told when to."""
PAUSE = 0.02
PATIENCE = 10.0
SMALL = 16 * 1024


class Subscriber:
    """One EventSource. Where that would give up, at another status, it comes back all the same."""

    def __init__(
        self, name: str, contestant: Contestant, peer: Peer, *, slow: bool = False
    ) -> None:
        self.seat = Seat()
        self.strict = Heard(name, frozenset([TOPIC])) if contestant.ours else None
        self.cursor = ""
        self.cursors: dict[int, str] = {}
        """What it would bring, had it been cut after that publication."""
        self.reading = asyncio.Event()
        self.reading.set()
        self.at_home = asyncio.Event()
        self.at_home.set()
        self._read = contestant.read
        self._peer = peer
        self._room = SMALL if slow else None
        self._retry = RETRY
        self._stream: Stream | None = None
        self._news = asyncio.Condition()

    def resume(self, other: "Subscriber", number: int) -> None:
        """Ask for what came after that publication, as somebody else heard it."""
        self.seat.since = number
        self.cursor = other.cursors[number]

    async def run(self) -> None:
        while True:
            await self.at_home.wait()
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                await self._listen()
            self._stream = None
            await asyncio.sleep(self._retry)

    async def _listen(self) -> None:
        headers = {"Last-Event-ID": self.cursor} if self.cursor else {}
        async with Stream(
            self._peer.port, self._peer.path, headers=headers, room=self._room
        ) as stream:
            if stream.status != 200:
                self.seat.refusals += 1
                return
            self._stream = stream
            while True:
                await self.reading.wait()
                try:
                    event = await stream.next()
                except EOFError:
                    return
                except TimeoutError:
                    continue  # a browser waits for ever
                await self._take(event)

    async def _take(self, event: ServerSentEvent) -> None:
        self.cursor = event.id or self.cursor
        if event.retry is not None:
            self._retry = event.retry / 1000
        if self.strict is not None:
            self.strict.told(event)
        item = self._read(event)
        if item is None:
            return
        if item != TOLD:
            self.cursors[item] = self.cursor
        async with self._news:
            self.seat.items.append(item)
            self._news.notify_all()

    def cut(self) -> None:
        if self._stream is not None:
            self._stream.cut()

    def leave(self) -> None:
        """Until it is at home again."""
        self.at_home.clear()
        self.cut()

    async def until(self, condition: Callable[[Seat], bool]) -> None:
        """Wait for what it is told; without a deadline."""
        async with self._news:
            await self._news.wait_for(lambda: condition(self.seat))


class Publisher:
    """Publishes one event after the other, each once, and keeps what it was told of each."""

    def __init__(self, peer: Peer) -> None:
        self.published: list[Publication] = []
        self.padding = 0
        self.pause = PAUSE
        self._peer = peer
        self._news = asyncio.Condition()
        self._stopping = False
        self._done = asyncio.Event()

    @property
    def outcomes(self) -> list[str]:
        return [each.outcome for each in self.published]

    @property
    def acknowledged(self) -> list[int]:
        return [n for n, said in enumerate(self.outcomes) if said == "acknowledged"]

    async def stop(self) -> None:
        """After the event that is under way, whose outcome is known then."""
        self._stopping = True
        await self._done.wait()

    async def run(self) -> None:
        try:
            async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
                while not self._stopping:
                    await self._next(client)
                    await asyncio.sleep(self.pause)
        finally:
            self._done.set()

    async def _next(self, client: httpx.AsyncClient) -> None:
        data = f"{len(self.published)} {'x' * self.padding}".strip()
        publication = Publication(TOPIC, data)
        await self._publish(client, publication)
        async with self._news:
            self.published.append(publication)
            self._news.notify_all()

    async def _publish(self, client: httpx.AsyncClient, publication: Publication) -> None:
        headers = {"Content-Type": self._peer.content_type}
        if self._peer.publish_headers:
            name, _, value = self._peer.publish_headers.strip().partition(": ")
            headers[name] = value
        url = f"http://127.0.0.1:{self._peer.port}{self._peer.publish_path}"
        content = self._peer.body.replace(MARK, publication.data)
        try:
            answer = await client.post(url, content=content, headers=headers)
        except httpx.HTTPError:
            return
        said = _json(answer)
        if answer.is_success:
            publication.outcome = "acknowledged"
            if "cursor" in said:
                publication.cursor = Cursor.parse(str(said["cursor"]))
        elif said.get("outcome") == "not_sent":
            publication.outcome = "not_sent"

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what it is told; without a deadline."""
        async with self._news:
            await self._news.wait_for(condition)

    async def more(self, number: int) -> None:
        """Wait until so many more were acknowledged."""
        enough = len(self.acknowledged) + number
        await self.until(lambda: len(self.acknowledged) >= enough)

    async def attempts(self, number: int) -> None:
        """Wait until so many more were tried."""
        enough = len(self.published) + number
        await self.until(lambda: len(self.published) >= enough)


def _json(answer: httpx.Response) -> dict[str, object]:
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}

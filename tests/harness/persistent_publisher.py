"""A publisher that repeats each event until it is acknowledged, as the promise says it may."""

import asyncio
import json
from dataclasses import dataclass, field
from itertools import count

from tests.harness.servers import PUBLISH_KEY, WebServer

DEADLINE = 60.0


@dataclass(frozen=True)
class Refusal:
    """A 503, and what it said."""

    outcome: str
    retry_after: str | None
    content_type: str
    seconds: float


@dataclass
class Persistent:
    """Publishes "0", "1", …, one after the other, until it is told to stop."""

    web: WebServer
    topic: str
    acknowledged: list[tuple[str, str]] = field(default_factory=list)
    """Cursor and data of each, in order."""
    refusals: list[Refusal] = field(default_factory=list)
    duplicates: int = 0
    stopping: bool = False

    def __post_init__(self) -> None:
        self._news = asyncio.Condition()

    async def run(self) -> None:
        for number in count():
            while not await self._publish(str(number)):
                pass
            async with self._news:
                self._news.notify_all()
            if self.stopping:
                return

    async def more(self, number: int) -> None:
        """Wait until so many more have been acknowledged."""
        enough = len(self.acknowledged) + number
        async with asyncio.timeout(DEADLINE), self._news:
            await self._news.wait_for(lambda: len(self.acknowledged) >= enough)

    async def _publish(self, data: str) -> bool:
        loop = asyncio.get_running_loop()
        began = loop.time()
        status, headers, body = await asyncio.to_thread(self._post, data)
        answer = json.loads(body)
        if status == 503:
            names = {name.lower(): value for name, value in headers.items()}
            self.refusals.append(
                Refusal(
                    answer["outcome"],
                    names.get("retry-after"),
                    names["content-type"],
                    loop.time() - began,
                )
            )
            return False
        assert status in (200, 201), body
        self.duplicates += status == 200
        self.acknowledged.append((answer["cursor"], data))
        return True

    def _post(self, data: str) -> tuple[int, dict[str, str], bytes]:
        headers = {
            "Authorization": f"Bearer {PUBLISH_KEY}",
            "Content-Type": "application/json",
            "Idempotency-Key": f"{self.topic} {data}",
        }
        body = json.dumps({"topic": self.topic, "data": data}).encode()
        return self.web.request("POST", "/publish/", body=body, headers=headers)

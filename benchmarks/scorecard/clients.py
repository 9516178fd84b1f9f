"""The clients of a run: subscribers that come back as browsers do, and one publisher."""

from collections.abc import Callable
from itertools import repeat

import httpx

from benchmarks.peers import MARK, TOPIC, Peer
from benchmarks.scorecard.contestants import Contestant
from benchmarks.scorecard.judge import RESET, Transcript
from notifications.log.cursors import Cursor
from notifications.sse import ServerSentEvent
from tests.harness.changes import Changes
from tests.harness.checker import Observation, Publication
from tests.harness.event_source import EventSource
from tests.harness.publisher import PAUSE_SECONDS, Publisher, Result, Sender

REQUEST_SECONDS = 10.0
SMALL_BUFFER = 16 * 1024


class Subscriber(EventSource):
    """An EventSource whose transcript is judged; of ours, the checker's observation as well."""

    def __init__(
        self, name: str, contestant: Contestant, peer: Peer, *, slow: bool = False
    ) -> None:
        super().__init__(
            peer.path,
            repeat(peer.port),
            self._take,
            receive_buffer=SMALL_BUFFER if slow else None,
            deadline_seconds=None,
        )
        self.observation = Observation(name, frozenset([TOPIC])) if contestant.ours else None
        self.cursors: dict[int, str] = {}
        """The id to come back with after each publication."""
        self._transcript = Transcript()
        self._read_item = contestant.read
        self._changes = Changes()

    @property
    def transcript(self) -> Transcript:
        self._transcript.refusals = self.refusals
        return self._transcript

    def resume(self, other: "Subscriber", number: int) -> None:
        """Begin after that publication, with the id that another subscriber received with it."""
        self._transcript.since = number
        self.last_event_id = other.cursors[number]

    def _take(self, event: ServerSentEvent) -> None:
        if self.observation is not None:
            self.observation.receive(event)
        item = self._read_item(event)
        if item is None:
            return
        if item != RESET:
            self.cursors[item] = self.last_event_id
        self._transcript.items.append(item)
        self._changes.notify()

    async def until(self, condition: Callable[[Transcript], bool]) -> None:
        """Wait, without a deadline, for a condition that an event may bring about."""
        await self._changes.until(lambda: condition(self._transcript))


class PeerSender(Sender):
    """Posts to a peer, as the peer wants it."""

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self._peer = peer
        self._client = httpx.AsyncClient(timeout=REQUEST_SECONDS, trust_env=False)

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def send(self, publication: Publication, key: str | None) -> Result:
        headers = {"Content-Type": self._peer.content_type}
        if self._peer.publish_headers:
            name, _, value = self._peer.publish_headers.strip().partition(": ")
            headers[name] = value
        url = f"http://127.0.0.1:{self._peer.port}{self._peer.publish_path}"
        body = self._peer.body.replace(MARK, publication.data)
        try:
            response = await self._client.post(url, content=body, headers=headers)
        except httpx.HTTPError:
            return "unknown", None
        content = _json_object(response)
        if response.is_success:
            cursor = Cursor.parse(str(content["cursor"])) if "cursor" in content else None
            return "acknowledged", cursor
        return ("not_sent" if content.get("outcome") == "not_sent" else "unknown"), None


def _json_object(response: httpx.Response) -> dict[str, object]:
    try:
        content = response.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


class NumberedPublisher(Publisher):
    """Publishes each number once, never again, and may pad it."""

    refused_pause_seconds = PAUSE_SECONDS
    """As ever: how many are refused is a figure of the scorecard."""

    def __init__(self, peer: Peer) -> None:
        super().__init__("", TOPIC, PeerSender(peer), deadline_seconds=None)
        self.padding = 0

    def data(self, number: int) -> str:
        return f"{number} {'x' * self.padding}".strip()

    @property
    def outcomes(self) -> list[str]:
        return [each.outcome for each in self.published]

    @property
    def acknowledged(self) -> list[int]:
        """The numbers of the events that were acknowledged."""
        return [n for n, outcome in enumerate(self.outcomes) if outcome == "acknowledged"]

    async def wait_for_attempts(self, number: int) -> None:
        """Wait until so many more events have an outcome."""
        enough = self.attempted + number
        await self.until(lambda: self.attempted >= enough)

    async def finish(self) -> None:
        """Stop, and wait for the outcome of the event that is under way."""
        self.stop()
        await self.until(lambda: self.is_finished)

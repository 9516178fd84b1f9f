"""A replay is cut after any of its bytes: a browser that then comes back loses nothing."""

import asyncio
from typing import Any

import pytest

from notifications.sse import Decoder, ServerSentEvent
from tests.end_to_end.conftest import Pair
from tests.harness.event_source import subscribe

MAX_CONNECTIONS = 16

pytestmark = pytest.mark.usefixtures("loop_without_debug")


def _events(topic: str) -> list[dict[str, Any]]:
    return [
        {"topic": topic, "data": "one line"},
        {"topic": topic, "data": "two\nlines", "type": "greeting"},
        {"topic": topic, "data": ""},
        {"topic": [topic, f"{topic}.more"], "data": {"ä": [1, None]}, "retry": 3_000},
        {
            "topic": topic,
            "data": "id: not an id\n\n: nor a comment",
            "type": "trap",
            "retry": 2_500,
        },
    ]


async def _replay(port: int, topic: str, cursor: str, *, until: str) -> bytes:
    """The bytes of a replay, up to the block of the event with that id."""
    async with subscribe(port, topic, cursor=cursor) as stream:
        replay = b""
        while f"id: {until}\n".encode() not in replay or not replay.endswith(b"\n\n"):
            piece = await stream.read()
            assert piece
            replay += piece
        return replay


async def _cut(port: int, topic: str, cursor: str, *, after: int) -> list[ServerSentEvent]:
    """The events that a client receives before its connection is cut."""
    async with subscribe(port, topic, cursor=cursor) as stream:
        decoder, received = Decoder(), list[ServerSentEvent]()
        while stream.bytes_read < after:
            piece = await stream.read(after - stream.bytes_read)
            assert piece
            received += decoder.feed(piece)
        return received


def _content(events: list[ServerSentEvent]) -> list[tuple[str, str, str]]:
    return [(event.id, event.type, event.data) for event in events if event.type != "stream.cursor"]


async def test_a_replay_cut_after_any_of_its_bytes_loses_nothing_and_repeats_nothing(
    pair: Pair, topic: str
) -> None:
    async with subscribe(pair.one.port, topic) as stream:
        start = (await stream.next()).id
    status, answer = await asyncio.to_thread(pair.one.publish, _events(topic))
    assert status == 201
    last = answer["events"][-1]["cursor"]
    async with subscribe(pair.other.port, topic, cursor=start) as stream:
        while (await stream.next()).id != last:  # then it has reached the other process as well
            pass
    ports = pair.one.port, pair.other.port
    whole = await _replay(ports[0], topic, start, until=last)
    expected = _content(Decoder().feed(whole))
    assert [event[0] for event in expected] == [each["cursor"] for each in answer["events"]]

    connections = asyncio.Semaphore(MAX_CONNECTIONS)

    async def cut_and_come_back(after: int) -> None:
        async with connections:
            before = await _cut(ports[after % 2], topic, start, after=after)
            cursor = before[-1].id if before else start
            if cursor == last:
                assert _content(before) == expected
                return
            rest = await _replay(ports[after // 2 % 2], topic, cursor, until=last)
            assert _content(before) + _content(Decoder().feed(rest)) == expected

    async with asyncio.TaskGroup() as tasks:
        for after in range(len(whole) + 1):
            tasks.create_task(cut_and_come_back(after))

"""Token streams: the whole text once for everyone, in few events, with an end that is told."""

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest
from django.test import AsyncClient
from pytest_django import Settings as DjangoSettings

from notifications import Unavailable, apublish
from notifications.access import Rules, own, public
from notifications.conf import get_settings
from notifications.log.base import Entry
from notifications.log.factory import open_log
from notifications.publishing import token_stream as token_stream_module
from notifications.streaming import Stopped, TokenStream, stop_topic, token_stream
from notifications.topics import Pattern
from tests.harness.django_client import post, subscribed
from tests.harness.servers import free_port

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

TOPIC = "demo.chat.5.answer"
DEADLINE = 20.0
WORDS = [f"word {i} " for i in range(200)]


async def kept() -> list[Entry]:
    async with open_log(get_settings()) as log:
        state = await log.state()
        return [e async for batch in log.read(until=state.position) for e in batch.entries]


async def said() -> list[tuple[str, dict[str, Any]]]:
    return [
        ((entry.type or b"").decode(), json.loads(entry.data))
        for entry in await kept()
        if entry.topics == (TOPIC,)
    ]


def text_of(events: list[tuple[str, dict[str, Any]]]) -> str:
    """The text, if it is whole: each piece says where it stands."""
    text = ""
    for kind, data in events:
        if kind == "token":
            assert data["at"] == len(text)
            text += data["text"]
    return text


async def write(words: list[str], **options: Any) -> TokenStream:
    async with token_stream(TOPIC, **options) as out:
        for word in words:
            await out.send(word)
    return out


async def until_stopped(out: TokenStream) -> None:
    """A model that goes on for ever."""
    async with asyncio.timeout(DEADLINE):
        while True:
            await out.send("and ")
            await asyncio.sleep(0)


async def test_a_text_begins_grows_and_ends() -> None:
    out = await write(["Once ", "upon ", "a time"])
    events = await said()
    assert events[0][0] == "begin"
    assert events[-1] == ("done", {"stream": out.id, "length": 16, "stopped": False})
    assert text_of(events) == out.text == "Once upon a time"
    assert {data["stream"] for _, data in events} == {out.id}


async def test_many_tokens_are_few_events() -> None:
    await write(WORDS, per_second=1)
    events = await said()
    assert text_of(events) == "".join(WORDS)
    assert len(events) <= 4


async def test_events_keep_their_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    moments: list[float] = []

    async def noted(*args: Any, **kwargs: Any) -> Any:
        if kwargs["type"] == "token":
            moments.append(loop.time())
        return await apublish(*args, **kwargs)

    monkeypatch.setattr(token_stream_module, "apublish", noted)
    async with token_stream(TOPIC, per_second=20) as out, asyncio.timeout(DEADLINE):
        while len(moments) < 5:
            await out.send("x")
            await asyncio.sleep(0.001)
        before_the_end = list(moments)
    pauses = [b - a for a, b in pairwise(before_the_end)]
    assert min(pauses) > 0.045


async def test_readers_that_come_early_late_and_again_have_the_whole_text_once(
    async_client: AsyncClient,
) -> None:
    async def read(**headers: str) -> tuple[str, str]:
        found, cursor, last = "", "", ""
        async with subscribed(
            async_client, TOPIC, parameters=[("since", "all")], headers=headers
        ) as stream:
            while last not in ("done", "cut"):
                event = await stream.next()
                cursor = event.id or cursor
                if event.type == "token":
                    found += json.loads(event.data)["text"]
                    if headers.pop("cut", ""):
                        return found, cursor
                last = event.type
        return found, cursor

    early = asyncio.create_task(read())
    reload = asyncio.create_task(read(cut="1"))
    await asyncio.sleep(0)
    await write(WORDS, per_second=100)
    whole = "".join(WORDS)
    assert (await early)[0] == whole
    assert (await read())[0] == whole
    begun, cursor = await reload
    rest, _ = await read(**{"Last-Event-ID": cursor})
    assert begun + rest == whole


async def test_a_reader_that_leaves_stops_nothing(async_client: AsyncClient) -> None:
    async with token_stream(TOPIC, per_second=1000) as out:
        async with subscribed(async_client, TOPIC, parameters=[("since", "all")]) as stream:
            await out.send("first ")
            while (await stream.next()).type != "token":
                pass
        await out.send("second")
    assert text_of(await said()) == "first second"


# Stopping


async def test_a_reader_stops_it_and_all_are_told() -> None:
    async with token_stream(TOPIC, per_second=1000) as out:
        await apublish(stop_topic(TOPIC), "please", type="stop")
        await until_stopped(out)
    assert out.stopped
    events = await said()
    assert events[-1][0] == "done"
    assert events[-1][1]["stopped"] is True
    assert text_of(events) == out.text


async def test_what_stops_another_text_stops_not_this_one() -> None:
    async with token_stream(TOPIC) as other:
        pass
    await apublish(stop_topic(TOPIC), "an old one", type="stop")
    async with token_stream(TOPIC, per_second=1000) as out:
        await apublish(stop_topic(TOPIC), {"stream": other.id}, type="stop")
        await apublish(stop_topic(TOPIC), "of another type", type="note")
        await out.send("on")
        await asyncio.sleep(0.05)
        assert not out.stopped
        await apublish(stop_topic(TOPIC), {"stream": out.id}, type="stop")
        await until_stopped(out)
    assert (await said())[-1][1]["stopped"] is True


async def test_work_that_asks_may_end_it_in_its_own_way() -> None:
    async with token_stream(TOPIC) as out:
        out.stop()
        with pytest.raises(Stopped):
            await out.send("too late")
        assert out.stopped
    assert (await said())[-1][0] == "done"


RULES = Rules(
    subscribe=[public("demo.")],
    publish=[own("demo.chat.{id}.*.stop")],
)


def test_the_pattern_of_the_documentation_is_for_the_stop_alone() -> None:
    pattern = Pattern("chat.{id}.*.stop")
    assert pattern.match(stop_topic("chat.5.answer")) == {"id": "5"}
    assert not pattern.covers("chat.5.answer")
    assert not pattern.covers("chat.5.stop")


@pytest.mark.django_db(transaction=True)
async def test_a_user_stops_what_is_theirs_and_nothing_else(
    settings: DjangoSettings, async_client: AsyncClient
) -> None:
    from django.contrib.auth.models import User

    settings.CARILLON = {**settings.CARILLON, "ACCESS": f"{__name__}.RULES"}
    user = await User.objects.acreate_user("ada", pk=5)
    await async_client.aforce_login(user)
    stop = {"topic": stop_topic(TOPIC), "type": "stop", "data": ""}

    async def status_of(topic: str) -> int:
        return (await post(async_client, {**stop, "topic": topic}, headers={})).status

    assert await status_of(stop_topic("demo.chat.6.answer")) == 403
    assert await status_of(TOPIC) == 403
    async with token_stream(TOPIC, per_second=1000) as out:
        assert await status_of(stop_topic(TOPIC)) == 201
        await until_stopped(out)
    assert out.stopped


# Ends that are not wanted


class Failure(Exception):
    pass


async def test_a_writer_that_fails_is_told_of_with_all_that_it_wrote() -> None:
    async def work() -> None:
        async with token_stream(TOPIC, per_second=1) as out:
            await out.send("half a ")
            await out.send("sentence")
            raise Failure("a secret")

    with pytest.raises(Failure):
        await work()
    events = await said()
    ended, data = events[-1]
    assert (ended, data["length"], data["reason"]) == ("failed", 15, "error")
    assert "secret" not in str(data)
    assert text_of(events) == "half a sentence"


async def test_a_writer_that_is_cancelled_is_told_of() -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with token_stream(TOPIC) as out:
            await out.send("so far")
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    events = await said()
    assert events[-1][1]["reason"] == "cancelled"
    assert text_of(events) == "so far"


@pytest.mark.parametrize("was_kept", [False, True])
async def test_a_log_that_is_away_for_a_moment_has_each_piece_once(
    monkeypatch: pytest.MonkeyPatch, *, was_kept: bool
) -> None:
    monkeypatch.setattr(token_stream_module, "PAUSE", 0.0)
    failures = iter([False, True, True, False, True])

    async def unwilling(*args: Any, **kwargs: Any) -> Any:
        fails = next(failures, False)
        if fails and was_kept:
            await apublish(*args, **kwargs)
        if fails:
            raise Unavailable("away", outcome="unknown")
        return await apublish(*args, **kwargs)

    monkeypatch.setattr(token_stream_module, "apublish", unwilling)
    await write(WORDS, per_second=1000)
    assert text_of(await said()) == "".join(WORDS)


async def test_a_log_that_stays_away_ends_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = False

    async def gone(*args: Any, **kwargs: Any) -> Any:
        nonlocal begun
        if begun:
            raise Unavailable("away", outcome="not_sent")
        begun = True
        return await apublish(*args, **kwargs)

    monkeypatch.setattr(token_stream_module, "apublish", gone)
    with pytest.raises(Unavailable):
        async with token_stream(TOPIC, per_second=1000, patience=0.0) as out:
            await until_stopped(out)


async def test_what_cannot_begin_does_not(settings: DjangoSettings) -> None:
    settings.CARILLON = {
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
        "PUBLISH_TIMEOUT": 0.1,
    }
    with pytest.raises(Unavailable):
        await write(["x"], patience=0.0)


# Size


async def test_a_long_text_comes_in_pieces_that_the_log_takes(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "MAX_EVENT_BYTES": 400}
    text = "ä\n\x01\U0001f514" * 100
    await write([text], per_second=10_000)
    assert text_of(await said()) == text


async def test_a_writer_that_is_far_ahead_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    may_go = asyncio.Event()

    async def slow(*args: Any, **kwargs: Any) -> Any:
        if kwargs["type"] == "token":
            await may_go.wait()
        return await apublish(*args, **kwargs)

    monkeypatch.setattr(token_stream_module, "apublish", slow)
    sent = 0
    async with token_stream(TOPIC, per_second=10_000) as out:

        async def work() -> None:
            nonlocal sent
            for _ in range(100):
                await out.send("x" * 1_000)
                sent += 1

        working = asyncio.create_task(work())
        while not working.done() and sent < 16:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sent < 30
        may_go.set()
        await working
    assert len(text_of(await said())) == 100_000


async def test_after_its_end_nothing_is_taken() -> None:
    out = await write(["x"])
    with pytest.raises(RuntimeError):
        await out.send("y")

"""Token streams: every reader gets the whole text once, in few events, and its end."""

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest
from django.test import AsyncClient
from pytest_django import Settings as DjangoSettings

from notifications import apublish
from notifications.access import Rules, own, public
from notifications.streaming import Stopped, TokenStream, stop_topic, token_stream
from notifications.topics import Pattern
from tests.harness.django_client import post, subscribed
from tests.unit.publishing.token_events import (
    DEADLINE_SECONDS,
    TOPIC,
    WORDS,
    published,
    send_until_stopped,
    text_of,
    write,
)

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")


async def test_a_text_begins_grows_and_ends() -> None:
    out = await write(["Once ", "upon ", "a time"])
    events = await published()
    assert events[0][0] == "begin"
    assert events[-1] == ("done", {"stream": out.id, "length": 16, "stopped": False})
    assert text_of(events) == out.text == "Once upon a time"
    assert {data["stream"] for _, data in events} == {out.id}


async def test_many_tokens_are_few_events() -> None:
    await write(WORDS, per_second=1)
    events = await published()
    assert text_of(events) == "".join(WORDS)
    assert len(events) <= 4


async def test_events_keep_their_distance() -> None:
    loop = asyncio.get_running_loop()
    moments: list[float] = []

    async def note_time(*args: Any, **kwargs: Any) -> Any:
        if kwargs["type"] == "token":
            moments.append(loop.time())
        return await apublish(*args, **kwargs)

    stream = TokenStream(TOPIC, per_second=20, publish=note_time)
    async with stream.writing() as out, asyncio.timeout(DEADLINE_SECONDS):
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
        text, cursor, last = "", "", ""
        async with subscribed(
            async_client, TOPIC, parameters=[("since", "all")], headers=headers
        ) as stream:
            while last not in ("done", "cut"):
                event = await stream.next()
                cursor = event.id or cursor
                if event.type == "token":
                    text += json.loads(event.data)["text"]
                    if headers.pop("cut", ""):
                        return text, cursor
                last = event.type
        return text, cursor

    early = asyncio.create_task(read())
    reload = asyncio.create_task(read(cut="1"))
    await asyncio.sleep(0)
    await write(WORDS, per_second=100)
    whole = "".join(WORDS)
    assert (await early)[0] == whole
    assert (await read())[0] == whole
    first_part, cursor = await reload
    second_part, _ = await read(**{"Last-Event-ID": cursor})
    assert first_part + second_part == whole


async def test_a_reader_that_leaves_stops_nothing(async_client: AsyncClient) -> None:
    async with token_stream(TOPIC, per_second=1000) as out:
        async with subscribed(async_client, TOPIC, parameters=[("since", "all")]) as stream:
            await out.send("first ")
            while (await stream.next()).type != "token":
                pass
        await out.send("second")
    assert text_of(await published()) == "first second"


# Stopping


async def test_a_reader_stops_it_and_all_readers_get_the_end() -> None:
    async with token_stream(TOPIC, per_second=1000) as out:
        await apublish(stop_topic(TOPIC), "please", type="stop")
        await send_until_stopped(out)
    assert out.stopped
    events = await published()
    assert events[-1][0] == "done"
    assert events[-1][1]["stopped"] is True
    assert text_of(events) == out.text


async def test_a_stop_of_another_text_does_not_stop_this_one() -> None:
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
        await send_until_stopped(out)
    assert (await published())[-1][1]["stopped"] is True


async def test_a_writer_that_catches_stopped_may_go_on_in_its_block() -> None:
    async with token_stream(TOPIC) as out:
        out.stop()
        with pytest.raises(Stopped):
            await out.send("too late")
        assert out.stopped
    assert (await published())[-1][0] == "done"


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
async def test_a_user_stops_their_own_text_and_no_other(
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
        await send_until_stopped(out)
    assert out.stopped


# Size


async def test_a_long_text_is_split_into_events_that_the_log_takes(
    settings: DjangoSettings,
) -> None:
    settings.CARILLON = {**settings.CARILLON, "MAX_EVENT_BYTES": 400}
    text = "ä\n\x01\U0001f514" * 100
    await write([text], per_second=10_000)
    assert text_of(await published()) == text


async def test_a_writer_that_is_far_ahead_waits() -> None:
    may_go = asyncio.Event()

    async def wait_for_permission(*args: Any, **kwargs: Any) -> Any:
        if kwargs["type"] == "token":
            await may_go.wait()
        return await apublish(*args, **kwargs)

    sent = 0
    stream = TokenStream(TOPIC, per_second=10_000, publish=wait_for_permission)
    async with stream.writing() as out:

        async def work() -> None:
            nonlocal sent
            for _ in range(100):
                await out.send("x" * 1_000)
                sent += 1

        working = asyncio.create_task(work())
        while not working.done() and sent < 16:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sent < 30
        may_go.set()
        await working
    assert len(text_of(await published())) == 100_000


async def test_after_its_end_a_text_takes_nothing_more() -> None:
    out = await write(["x"])
    with pytest.raises(RuntimeError):
        await out.send("y")

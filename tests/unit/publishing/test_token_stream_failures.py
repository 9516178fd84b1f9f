"""Token streams whose writer fails or is cancelled, or whose log is unavailable."""

import asyncio
from typing import Any

import pytest
from pytest_django import Settings as DjangoSettings

from notifications import Unavailable, apublish
from notifications.streaming import TokenStream, token_stream
from tests.harness.servers import free_port
from tests.unit.publishing.token_events import (
    TOPIC,
    WORDS,
    published,
    send_until_stopped,
    text_of,
    write,
)

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")


class Failure(Exception):
    pass


async def test_a_failed_writer_is_published_with_all_that_it_wrote() -> None:
    async def work() -> None:
        async with token_stream(TOPIC, per_second=1) as out:
            await out.send("half a ")
            await out.send("sentence")
            raise Failure("a secret")

    with pytest.raises(Failure):
        await work()
    events = await published()
    ended, data = events[-1]
    assert (ended, data["length"], data["reason"]) == ("failed", 15, "error")
    assert "secret" not in str(data)
    assert text_of(events) == "half a sentence"


async def test_a_cancelled_writer_is_published() -> None:
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
    events = await published()
    assert events[-1][1]["reason"] == "cancelled"
    assert text_of(events) == "so far"


@pytest.mark.parametrize("was_kept", [False, True])
async def test_a_log_that_is_away_for_a_moment_has_each_piece_once(*, was_kept: bool) -> None:
    failures = iter([False, True, True, False, True])

    async def fail_sometimes(*args: Any, **kwargs: Any) -> Any:
        fails = next(failures, False)
        if fails and was_kept:
            await apublish(*args, **kwargs)
        if fails:
            raise Unavailable("away", outcome="unknown")
        return await apublish(*args, **kwargs)

    stream = TokenStream(TOPIC, per_second=1000, retry_pause_seconds=0.0, publish=fail_sometimes)
    async with stream.writing() as out:
        for word in WORDS:
            await out.send(word)
    assert text_of(await published()) == "".join(WORDS)


async def test_a_log_that_stays_away_ends_the_work() -> None:
    begun = False

    async def fail_after_first(*args: Any, **kwargs: Any) -> Any:
        nonlocal begun
        if begun:
            raise Unavailable("away", outcome="not_sent")
        begun = True
        return await apublish(*args, **kwargs)

    stream = TokenStream(TOPIC, per_second=1000, retry_seconds=0.0, publish=fail_after_first)
    with pytest.raises(Unavailable):
        async with stream.writing() as out:
            await send_until_stopped(out)


async def test_without_a_log_a_text_does_not_begin(settings: DjangoSettings) -> None:
    settings.CARILLON = {
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
        "PUBLISH_TIMEOUT": 0.1,
    }
    with pytest.raises(Unavailable):
        await write(["x"], retry_seconds=0.0)

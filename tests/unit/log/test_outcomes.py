"""Which errors are known to have kept nothing."""

import asyncio
from contextlib import closing
from typing import Any

import pytest
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ResponseError,
)

from notifications.errors import Unavailable
from notifications.events import Event
from notifications.log.entries import ControlAction, ControlEntry, Draft, Retention
from notifications.log.layout import NOTHING_KEPT
from notifications.log.outcomes import unavailable
from notifications.log.redis import RedisLog
from notifications.log.redis_sync import RedisSyncLog
from tests.harness.silent_redis import silent_redis

DEADLINE_SECONDS = 60.0
OPTIONS: dict[str, Any] = {
    "prefix": "test",
    "retention": Retention(events=1000, bytes=10**7, age=3600),
    "timeout": 0.6,  # a call that may have been kept repeats until then
}


@pytest.mark.parametrize(
    "error",
    [
        BusyLoadingError("Redis is loading the dataset in memory"),
        NoPermissionError("User some has no permissions to run the 'evalsha' command"),
        OutOfMemoryError("command not allowed" + NOTHING_KEPT),
        ResponseError("BUSY Redis is busy running a script."),
        ResponseError("unknown command 'EVALSHA', with args beginning with: "),
    ],
)
def test_what_comes_before_the_first_write_has_kept_nothing(error: Exception) -> None:
    refusal = unavailable(error, sent=True)
    assert refusal.outcome == "not_sent"
    assert "refused" in refusal.detail
    assert NOTHING_KEPT not in refusal.detail


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionError(),
        ResponseError("upstream failure"),
        ResponseError("OOM command not allowed"),
        InvalidResponse("Protocol Error"),
        ValueError("not what Redis replies"),
    ],
)
def test_any_other_error_after_sending_leaves_the_outcome_unknown(error: Exception) -> None:
    assert unavailable(error, sent=True).outcome == "unknown"
    assert unavailable(error, sent=False).outcome == "not_sent"


def test_the_detail_names_what_to_look_at_and_claims_nothing_that_was_not_sent() -> None:
    refused = unavailable(ConnectionError("Error 111 connecting to localhost:6379."), sent=False)
    assert refused.detail == (
        "Redis cannot be reached: Error 111 connecting to localhost:6379. "
        "Does it run, and is REDIS_URL right?"
    )
    password = unavailable(AuthenticationError("invalid username-password pair."), sent=False)
    assert password.detail == (
        "Redis refused the name or the password in REDIS_URL: invalid username-password pair."
    )
    late = unavailable(TimeoutError(), sent=True)
    assert late.detail == "Redis did not acknowledge it: no answer in time."


@pytest.mark.parametrize(
    "reply",
    [
        b"+OK\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"*0\r\n",
        b"*3\r\n$4\r\nkept\r\n$1\r\ne\r\n*0\r\n",
        b"*2\r\n$1\r\n\xff\r\n$1\r\n-\r\n",
        b"-upstream failure\r\n",
        b"?what is this\r\n",
    ],
)
async def test_a_reply_that_no_redis_sends_leaves_the_outcome_unknown(reply: bytes) -> None:
    drafts = [Draft(Event(topics=("a",), data="x"))]
    control = ControlEntry(ControlAction.END, ("user:1",), "kicked")
    with silent_redis(reply) as url, closing(RedisSyncLog(url, **OPTIONS)) as sync_log:
        async with asyncio.timeout(DEADLINE_SECONDS), RedisLog(url, **OPTIONS) as log:
            for call in (
                log.append(drafts),
                asyncio.to_thread(sync_log.append, drafts),
                asyncio.to_thread(sync_log.append_control, control),
            ):
                with pytest.raises(Unavailable) as caught:
                    await call
                assert caught.value.outcome == "unknown"
            with pytest.raises(Unavailable):
                await log.state()

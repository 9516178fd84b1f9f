"""A log behind passwords and TLS, in each form of `REDIS_URL`, and what is told of it to whom."""

import asyncio
import logging
import traceback
from collections.abc import Iterator
from contextlib import aclosing, closing
from pathlib import Path
from urllib.parse import quote

import pytest

from notifications.errors import Unavailable
from notifications.events import Event
from notifications.log.base import Batch, Draft, Log, Retention
from notifications.log.cursors import START, Cursor
from notifications.log.redis import RedisLog
from notifications.log.redis_sync import RedisAppender
from tests.harness.certificates import certificate
from tests.harness.failover import ask, wait
from tests.harness.secured_redis import SECRET, SECRETS, Locked, alone, clustered, watched

DEADLINE = 30.0
RETENTION = Retention(events=1000, bytes=10**7, age=3600)
FORMS = {"server": alone, "cluster": clustered, "sentinel": watched}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("certificate"), "127.0.0.1")


@pytest.fixture(scope="module", params=[(form, tls) for form in FORMS for tls in (False, True)])
def behind(
    request: pytest.FixtureRequest,
    tls: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Locked]:
    form, has_tls = request.param
    with FORMS[form](tmp_path_factory.mktemp(form), tls if has_tls else None) as locked:
        yield locked


def log_at(url: str) -> RedisLog:
    return RedisLog(url, prefix="carillon", retention=RETENTION, timeout=3)


def appender_at(url: str) -> RedisAppender:
    return RedisAppender(url, prefix="carillon", retention=RETENTION, timeout=3)


def drafts(data: str) -> list[Draft]:
    return [Draft(Event(topics=("demo.a",), data=data))]


async def heard(log: Log, after: Cursor, count: int) -> list[bytes]:
    """What the tail says next."""
    data: list[bytes] = []
    async with asyncio.timeout(DEADLINE), aclosing(log.tail(after)) as tail:
        async for said in tail:
            assert isinstance(said, Batch), said
            data += [entry.data for entry in said.entries]
            if len(data) >= count:
                return data
    raise AssertionError


async def test_it_is_published_to_and_read_with_the_documented_user(behind: Locked) -> None:
    async with log_at(behind.url) as log:
        before = await log.state()
        await log.append(drafts("by the loop"))
        with closing(appender_at(behind.url)) as appender:
            await asyncio.to_thread(appender.append, drafts("by a thread"))
        await log.ping()
        assert await heard(log, before, 2) == [b"by the loop", b"by a thread"]


async def test_a_wrong_password_is_told_without_it(
    behind: Locked, caplog: pytest.LogCaptureFixture
) -> None:
    url = behind.url.replace(quote(SECRET, safe=""), quote(SECRET[:-1], safe=""))
    await tells_no_secret(url, caplog)


@pytest.mark.parametrize("behind", [(form, True) for form in FORMS], indirect=True)
async def test_a_server_that_is_not_trusted_is_told_without_secrets(
    behind: Locked, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    other, _ = certificate(tmp_path, "127.0.0.1")
    url = behind.url.replace(quote(str(behind.master.ca), safe=""), quote(str(other), safe=""))
    await tells_no_secret(url, caplog)


@pytest.mark.parametrize("behind", [(form, True) for form in FORMS], indirect=True)
async def test_who_speaks_no_tls_is_told_without_secrets(
    behind: Locked, caplog: pytest.LogCaptureFixture
) -> None:
    url = "redis" + behind.url.removeprefix("rediss").partition("?")[0]
    await tells_no_secret(url, caplog)


async def tells_no_secret(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = []
    with closing(appender_at(url)) as appender:
        with pytest.raises(Unavailable) as refusal:
            await asyncio.to_thread(appender.append, drafts("x"))
        told += ["".join(traceback.format_exception(refusal.value)), repr(appender)]
    async with log_at(url) as log:
        with pytest.raises(Unavailable) as refusal:
            await log.append(drafts("x"))
        assert refusal.value.outcome == "not_sent"
        told += ["".join(traceback.format_exception(refusal.value)), repr(log), caplog.text]
        tail = asyncio.create_task(heard(log, Cursor("0123456789ab", START), 1))
        await asyncio.to_thread(wait, lambda: "log.away" in caplog.text)
        tail.cancel()
        await asyncio.wait([tail])
    told.append(caplog.text)
    for secret in (*SECRETS, SECRET[:-1], quote(SECRET[:-1], safe="")):
        assert secret not in "".join(told)


@pytest.mark.parametrize("has_tls", [False, True])
async def test_a_failover_behind_passwords_is_followed(
    tls: tuple[Path, Path], has_tls: bool, tmp_path: Path
) -> None:
    with watched(tmp_path, tls if has_tls else None) as locked:
        async with log_at(locked.url) as log:
            before = await log.state()
            [first] = await log.append(drafts("before"))
            await asyncio.to_thread(wait, lambda: ask(locked.master, "WAIT", 1, 1000))
            listening = asyncio.create_task(heard(log, before, 2))
            await asyncio.to_thread(locked.master.kill)
            async with asyncio.timeout(DEADLINE):
                while True:
                    try:
                        [second] = await log.append(drafts("after"))
                        break
                    except Unavailable:
                        await asyncio.sleep(0.05)
            assert second.cursor.epoch == first.cursor.epoch
            assert await listening == [b"before", b"after"]

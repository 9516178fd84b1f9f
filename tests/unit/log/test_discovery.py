"""Discovery: which servers it asks for the log's address, and how it reads their replies."""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis.connection import Connection
from redis.exceptions import ConnectionError as ConnectionFailed

from notifications.events import Event
from notifications.log.discovery import Discovery, discovery_of
from notifications.log.entries import Draft, Retention
from notifications.log.redis import RedisLog
from notifications.log.redis_sync import RedisSyncLog
from notifications.log.script import Keys
from tests.harness.failover import execute, wait_until
from tests.harness.servers import free_port, redis_server

STREAM = Keys("carillon").stream
SLOT = 8028


def discovery(url: str) -> Discovery:
    discovery = discovery_of(url, STREAM)
    assert discovery is not None
    return discovery


def test_every_server_is_asked_and_each_round_starts_with_another() -> None:
    sentinels = discovery("redis+sentinel://one,two,three/main")
    assert [host for host, _ in sentinels.candidates()] == ["one", "two", "three"]
    assert next(sentinels.candidates())[0] == "one"
    assert next(sentinels.candidates())[0] == "two"


def test_a_sentinel_that_does_not_know_the_service_is_a_failed_connection() -> None:
    sentinels = discovery("redis+sentinel://one/main")
    assert sentinels.read_reply(("one", 1), [b"ten", b"6380"]) == ("ten", 6380)
    with pytest.raises(ConnectionFailed):
        sentinels.read_reply(("one", 1), None)


def test_the_server_that_sentinel_names_must_be_a_master() -> None:
    sentinels = discovery("redis+sentinel://one/main")
    sentinels.check_role([b"master", 0, []])
    with pytest.raises(ConnectionFailed):
        sentinels.check_role([b"slave", b"ten", 6380, b"connected", 0])


def test_a_reply_of_a_former_master_is_refused() -> None:
    sentinels = discovery("redis+sentinel://one/main")
    sentinels.read_reply(("one", 1), [b"ten", b"6380"])
    sentinels.check_address(Connection("ten", 6380))
    sentinels.read_reply(("one", 1), [b"eleven", b"6380"])
    with pytest.raises(ConnectionFailed):
        sentinels.check_address(Connection("ten", 6380))


def test_the_master_of_the_slot_has_the_log_and_every_node_can_be_asked() -> None:
    nodes = discovery("redis+cluster://one:1")
    slots = [
        [0, SLOT - 1, [b"two", 2, b"id"]],
        [SLOT, 16383, [b"three", 3, b"id"], [b"four", 4, b"id"]],
    ]
    assert nodes.read_reply(("one", 1), slots) == ("three", 3)
    assert set(nodes.candidates()) == {("one", 1), ("two", 2), ("three", 3), ("four", 4)}
    nodes.read_reply(("two", 2), slots[1:])
    assert set(nodes.candidates()) == {("one", 1), ("three", 3), ("four", 4)}


def test_a_node_without_a_name_has_the_name_it_was_asked_by() -> None:
    nodes = discovery("redis+cluster://one:1")
    assert nodes.read_reply(("one", 1), [[0, 16383, [b"", 7, b"id"]]]) == ("one", 7)


def test_a_slot_that_no_node_has_is_a_failed_connection() -> None:
    nodes = discovery("redis+cluster://one:1")
    with pytest.raises(ConnectionFailed):
        nodes.read_reply(("one", 1), [[SLOT + 1, 16383, [b"two", 2, b"id"]]])


@pytest.mark.parametrize("endpoint", ["hostname", "unknown-endpoint"])
async def test_the_nodes_of_a_cluster_without_hostnames_are_found(
    tmp_path: Path, endpoint: str
) -> None:
    options = (
        *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
        *("--cluster-preferred-endpoint-type", endpoint),
    )
    with redis_server(tmp_path, options=options) as server, server.client() as client:
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: b"cluster_state:ok" in execute(server, "CLUSTER", "INFO"))
        [[_, _, [name, *_]]] = execute(server, "CLUSTER", "SLOTS")
        assert name == (b"?" if endpoint == "hostname" else None)
        log_options: dict[str, Any] = {
            "prefix": "test",
            "retention": Retention(events=1000, bytes=10**7, age=3600),
            "timeout": 5,
        }
        url = f"redis+cluster://127.0.0.1:{server.port}"
        drafts = [Draft(Event(topics=("a",), data="x"))]
        async with RedisLog(url, **log_options) as log:
            await log.append(drafts)
        with closing(RedisSyncLog(url, **log_options)) as sync_log:
            await asyncio.to_thread(sync_log.append, drafts)

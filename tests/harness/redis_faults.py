"""Faults of Redis and of the network in front of it."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from tests.faults.site import KEYS
from tests.harness.relay import Relay, relay
from tests.harness.servers import RedisServer, redis_server, wait_for_redis

LATENCY_SECONDS = 1.5
DEADLINE_SECONDS = 60.0
CLOSED_PORT = 1  # nothing listens there


@dataclass
class FaultyRedis:
    """A Redis and the network in front of it, both of which can be made to fail."""

    redis: RedisServer
    network: Relay

    @property
    def folder(self) -> Path:
        return self.redis.log.parent

    def start(self, folder: Path | None = None) -> None:
        """Start it again at the same address, after it was killed: with its data, or a folder's."""
        if folder is not None:
            shutil.rmtree(self.folder / "appendonlydir")
            if folder.exists():
                shutil.copytree(folder, self.folder / "appendonlydir")
        command = [str(part) for part in self.redis.popen.args]  # type: ignore[union-attr]
        with self.redis.log.open("ab") as out:
            self.redis.popen = subprocess.Popen(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )
        wait_for_redis(self.redis)


type Fault = Callable[[FaultyRedis], AbstractContextManager[None]]


@contextmanager
def killed(faulty_redis: FaultyRedis) -> Iterator[None]:
    faulty_redis.redis.kill()
    yield
    faulty_redis.start()


@contextmanager
def stopped(faulty_redis: FaultyRedis) -> Iterator[None]:
    faulty_redis.redis.pause()
    try:
        yield
    finally:
        faulty_redis.redis.resume()


@contextmanager
def slow(faulty_redis: FaultyRedis) -> Iterator[None]:
    faulty_redis.network.latency = LATENCY_SECONDS
    try:
        yield
    finally:
        faulty_redis.network.latency = 0


@contextmanager
def full(faulty_redis: FaultyRedis) -> Iterator[None]:
    with faulty_redis.redis.client() as client:
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)


@contextmanager
def read_only(faulty_redis: FaultyRedis) -> Iterator[None]:
    """Redis becomes the replica of a server that does not answer, and then a master again."""
    with faulty_redis.redis.client() as client:
        client.replicaof("127.0.0.1", CLOSED_PORT)
        try:
            yield
        finally:
            client.replicaof("NO", "ONE")


@contextmanager
def resetting(faulty_redis: FaultyRedis) -> Iterator[None]:
    """The network resets every connection in the middle of a reply."""
    faulty_redis.network.cuts, faulty_redis.network.most = b"EVAL", 0
    try:
        yield
    finally:
        faulty_redis.network.cuts = b""


@contextmanager
def another_type(faulty_redis: FaultyRedis) -> Iterator[None]:
    """The log has another name, and its key has another type."""
    with faulty_redis.redis.client() as client:
        # Both commands at once: an event appended between them would be lost.
        client.pipeline().rename(KEYS.stream, "aside").set(KEYS.stream, "something else").execute()
        try:
            yield
        finally:
            client.rename("aside", KEYS.stream)


OUTAGES: dict[str, Fault] = {
    "killed": killed,
    "stopped": stopped,
    "slow": slow,
    "full": full,
    "read-only": read_only,
    "resetting": resetting,
    "another type": another_type,
}
"""Blocks in which nothing can be published; nothing is lost."""


def reset_connections(faulty_redis: FaultyRedis) -> None:
    faulty_redis.network.reset()


def cut_replies(faulty_redis: FaultyRedis) -> None:
    """Cut the next five acknowledgements."""
    faulty_redis.network.done, faulty_redis.network.most = 0, 5
    faulty_redis.network.cuts = b"append"


def flush_scripts(faulty_redis: FaultyRedis) -> None:
    with faulty_redis.redis.client() as client:
        client.script_flush()


def add_entry(faulty_redis: FaultyRedis) -> None:
    with faulty_redis.redis.client() as client:
        client.xadd(KEYS.stream, {"not": "ours"})


def turn_back_clock(faulty_redis: FaultyRedis) -> None:
    """As if the clock had been ahead until now: new entries are older than those in the log."""
    with faulty_redis.redis.client() as client:
        client.eval(
            "local last = redis.call('HGET', KEYS[2], 'last')\n"
            "local next = string.format('%.0f-0', string.match(last, '^%d+') + 3000)\n"
            "redis.call('XADD', KEYS[1], next, '\\n' .. last .. ' none 0 0 ' .. last, '')\n"
            "redis.call('HSET', KEYS[2], 'last', next)",
            2,
            KEYS.stream,
            KEYS.meta,
        )


DISTURBANCES: dict[str, Callable[[FaultyRedis], None]] = {
    "connections reset": reset_connections,
    "answers cut": cut_replies,
    "scripts flushed": flush_scripts,
    "an entry of somebody else": add_entry,
    "clock turned back": turn_back_clock,
}
"""Faults that are over at once; nothing is lost."""


def flush(faulty_redis: FaultyRedis) -> None:
    with faulty_redis.redis.client() as client:
        client.flushall()


def restart_empty(faulty_redis: FaultyRedis) -> None:
    faulty_redis.redis.kill()
    faulty_redis.start(faulty_redis.folder / "nothing")


def _is_ahead(client: Redis) -> bool:
    """Whether the log's head is ahead of the clock."""
    last: bytes = client.xinfo_stream(KEYS.stream)["last-generated-id"]
    seconds, microseconds = client.time()
    return int(last.partition(b"-")[0]) >= int(seconds) * 1000 + int(microseconds) // 1000


LOST_EVENTS = 6


def restart_older(faulty_redis: FaultyRedis) -> None:
    """Restart with the data of a moment ago, which lacks the last events that everyone has.

    This waits until the clock has passed the log's head. Otherwise Redis would give a position to
    two events, which nobody can notice.
    """
    with faulty_redis.redis.client() as client:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while _is_ahead(client):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    backup = faulty_redis.folder / "backup"
    shutil.rmtree(backup, ignore_errors=True)
    shutil.copytree(faulty_redis.folder / "appendonlydir", backup)
    with faulty_redis.redis.client() as client:
        # Publishers wait for their acknowledgements: of so many events some have been acknowledged.
        heads = set[bytes]()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(heads) < LOST_EVENTS:
            heads.add(client.xinfo_stream(KEYS.stream)["last-generated-id"])
            assert time.monotonic() < deadline
    faulty_redis.redis.kill()
    faulty_redis.start(backup)


LOSSES: dict[str, Callable[[FaultyRedis], None]] = {
    "flushed": flush,
    "restarted empty": restart_empty,
    "restarted with older data": restart_older,
}
"""Faults that lose acknowledged events: everyone gets a reset."""


@contextmanager
def faulty_redis(folder: Path) -> Iterator[FaultyRedis]:
    with redis_server(folder) as redis, relay(redis.port) as network:
        yield FaultyRedis(redis, network)

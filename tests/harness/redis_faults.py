"""What befalls Redis. Each is a block: it begins, lasts, and is over."""

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

LATE = 3.0
DEADLINE = 30.0
NOBODY = 1  # a port on which nothing listens


@dataclass
class Place:
    """A Redis, and the network before it."""

    redis: RedisServer
    network: Relay

    @property
    def folder(self) -> Path:
        return self.redis.log.parent

    def start(self, folder: Path | None = None) -> None:
        """After it was killed, at the same address: with its data, or with that of a folder."""
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


type Fault = Callable[[Place], AbstractContextManager[None]]


@contextmanager
def killed(place: Place) -> Iterator[None]:
    place.redis.kill()
    yield
    place.start()


@contextmanager
def stopped(place: Place) -> Iterator[None]:
    place.redis.pause()
    try:
        yield
    finally:
        place.redis.resume()


@contextmanager
def slow(place: Place) -> Iterator[None]:
    place.network.latency = LATE / 2
    try:
        yield
    finally:
        place.network.latency = 0


@contextmanager
def full(place: Place) -> Iterator[None]:
    with place.redis.client() as client:
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)


@contextmanager
def read_only(place: Place) -> Iterator[None]:
    """It was made the replica of one that does not answer, and is made a master again."""
    with place.redis.client() as client:
        client.replicaof("127.0.0.1", NOBODY)
        try:
            yield
        finally:
            client.replicaof("NO", "ONE")


@contextmanager
def resetting(place: Place) -> Iterator[None]:
    """Every answer is cut in its middle, by a reset."""
    place.network.cuts, place.network.most = b"EVAL", 0
    try:
        yield
    finally:
        place.network.cuts = b""


@contextmanager
def another_type(place: Place) -> Iterator[None]:
    """The log is put aside, and something else is in its place."""
    with place.redis.client() as client:
        # At once: what was appended between the two would be lost.
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
"""Nothing can be published while they last, and nothing is lost."""


def reset_connections(place: Place) -> None:
    place.network.reset()


def cut_answers(place: Place) -> None:
    """The next few acknowledgements."""
    place.network.done, place.network.most = 0, 5
    place.network.cuts = b"append"


def flush_scripts(place: Place) -> None:
    with place.redis.client() as client:
        client.script_flush()


def add_entry(place: Place) -> None:
    with place.redis.client() as client:
        client.xadd(KEYS.stream, {"not": "ours"})


def turn_back_clock(place: Place) -> None:
    """As if the clock had been ahead until now: what comes is older than what is there."""
    with place.redis.client() as client:
        client.eval(
            "local last = redis.call('HGET', KEYS[2], 'last')\n"
            "local next = string.format('%.0f-0', string.match(last, '^%d+') + 3000)\n"
            "redis.call('XADD', KEYS[1], next, 'kind', 'none', 'prev', last, 'at', 0)\n"
            "redis.call('HSET', KEYS[2], 'last', next)",
            2,
            KEYS.stream,
            KEYS.meta,
        )


DISTURBANCES: dict[str, Callable[[Place], None]] = {
    "connections reset": reset_connections,
    "answers cut": cut_answers,
    "scripts flushed": flush_scripts,
    "an entry of somebody else": add_entry,
    "clock turned back": turn_back_clock,
}
"""Over at once, and nothing is lost."""


def flush(place: Place) -> None:
    with place.redis.client() as client:
        client.flushall()


def restart_empty(place: Place) -> None:
    place.redis.kill()
    place.start(place.folder / "nothing")


def _is_ahead(client: Redis) -> bool:
    """Whether the log is ahead of the clock."""
    last: bytes = client.xinfo_stream(KEYS.stream)["last-generated-id"]
    seconds, _ = client.time()
    return int(last.partition(b"-")[0]) >= int(seconds) * 1000


def restart_older(place: Place) -> None:
    """With what it had a moment ago: from before the last event that everyone has.

    Not while its clock is behind, or places are given out twice, which nobody can notice.
    """
    with place.redis.client() as client:
        deadline = time.monotonic() + DEADLINE
        while _is_ahead(client):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    backup = place.folder / "backup"
    shutil.rmtree(backup, ignore_errors=True)
    shutil.copytree(place.folder / "appendonlydir", backup)
    with place.redis.client() as client:
        before = client.xinfo_stream(KEYS.stream)["last-generated-id"]
        deadline = time.monotonic() + DEADLINE
        while client.xinfo_stream(KEYS.stream)["last-generated-id"] == before:
            assert time.monotonic() < deadline
    place.redis.kill()
    place.start(backup)


LOSSES: dict[str, Callable[[Place], None]] = {
    "flushed": flush,
    "restarted empty": restart_empty,
    "restarted with older data": restart_older,
}
"""Something that was acknowledged is gone: a reset for everyone."""


@contextmanager
def place(folder: Path) -> Iterator[Place]:
    with redis_server(folder) as redis, relay(redis.port) as network:
        yield Place(redis, network)

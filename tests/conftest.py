"""What every test has at hand: one Redis for the session, emptied for each test that asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import RedisServer, redis_server


@pytest.fixture(scope="session")
def session_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder: Path = tmp_path_factory.mktemp("redis")
    with redis_server(folder, options=("--appendfsync", "no")) as server:
        yield server


@pytest.fixture
def redis(session_redis: RedisServer) -> RedisServer:
    """A Redis with nothing in it."""
    with session_redis.client() as client:
        client.flushall()
    return session_redis

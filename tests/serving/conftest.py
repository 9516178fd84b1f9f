"""A project in production, with its own Redis, which tests may pause."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import loop_without_debug
from tests.harness.servers import RedisServer, environment, migrate, redis_server

__all__ = ["loop_without_debug"]


@pytest.fixture(scope="package")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("redis")
    with redis_server(folder) as server:
        yield server


@pytest.fixture(scope="package")
def project(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a serving process. It drains at once, unless a test changes that."""
    folder: Path = tmp_path_factory.mktemp("project")
    migrate(folder)
    return environment(redis.url, folder, {"PORT": "0", "CARILLON_DRAIN_SECONDS": "0"})

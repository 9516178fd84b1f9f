"""A project in production, on a Redis of its own that tests may pause."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.servers import RedisServer, environment, migrate, redis_server


@pytest.fixture(scope="package")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("redis")
    with redis_server(folder, options=("--appendfsync", "no")) as server:
        yield server


@pytest.fixture(scope="package")
def project(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of what serves it. It drains at once, unless a test says otherwise."""
    folder: Path = tmp_path_factory.mktemp("project")
    migrate(folder)
    return environment(redis.url, folder, {"PORT": "0", "CARILLON_DRAIN_SECONDS": "0"})

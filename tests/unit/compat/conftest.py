"""One Redis and one migrated chat for all tests of this package."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.harness.servers import RedisServer, redis_server
from tests.unit.compat.chat import Project, Site, project

_numbers = count(1)


@pytest.fixture(scope="package")
def chat_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="package")
def chat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chat")


@pytest.fixture(scope="package")
def migrated_project(chat_folder: Path, chat_redis: RedisServer) -> Project:
    migrated = project(chat_folder / "migrated", "migrated", chat_redis, chat_folder)
    migrated.migrate()
    return migrated


@pytest.fixture(scope="package")
def migrated(migrated_project: Project) -> Iterator[Site]:
    with migrated_project.served() as site:
        yield site


@pytest.fixture(scope="package")
def stock(migrated_project: Project, chat_folder: Path, chat_redis: RedisServer) -> Iterator[Site]:
    """The chat before its migration, with the same database and the same Redis pub/sub."""
    with project(chat_folder / "stock", "stock", chat_redis, chat_folder).served() as site:
        yield site


@pytest.fixture(scope="package")
def stored(migrated_project: Project, chat_folder: Path, chat_redis: RedisServer) -> Iterator[Site]:
    """The chat half-way: our storage, and still the streams of django-eventstream."""
    with project(chat_folder / "stored", "stored", chat_redis, chat_folder).served() as site:
        yield site


@pytest.fixture
def room() -> str:
    """The name of a room or channel that no other test uses."""
    return f"r{next(_numbers)}"

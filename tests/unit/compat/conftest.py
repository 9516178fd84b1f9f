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
    with redis_server(tmp_path_factory.mktemp("redis"), options=("--appendfsync", "no")) as server:
        yield server


@pytest.fixture(scope="package")
def chat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chat")


@pytest.fixture(scope="package")
def migrated_project(chat_folder: Path, chat_redis: RedisServer) -> Project:
    made = project(chat_folder / "migrated", "migrated", chat_redis, chat_folder)
    made.migrate()
    return made


@pytest.fixture(scope="package")
def migrated(migrated_project: Project) -> Iterator[Site]:
    with migrated_project.served() as site:
        yield site


@pytest.fixture(scope="package")
def stock(migrated_project: Project, chat_folder: Path, chat_redis: RedisServer) -> Iterator[Site]:
    """The chat as it was. It has the same database, and feeds the same pub/sub."""
    with project(chat_folder / "stock", "stock", chat_redis, chat_folder).served() as site:
        yield site


@pytest.fixture(scope="package")
def stored(migrated_project: Project, chat_folder: Path, chat_redis: RedisServer) -> Iterator[Site]:
    """The chat half-way: its events are in our log, and its streams are still the old ones."""
    with project(chat_folder / "stored", "stored", chat_redis, chat_folder).served() as site:
        yield site


@pytest.fixture
def room() -> str:
    """A room, or a channel, in which nobody has been before."""
    return f"r{next(_numbers)}"

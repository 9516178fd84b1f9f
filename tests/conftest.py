"""What every test has at hand: one Redis for the session, emptied for each test that asks."""

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
from pytest_django import Settings as DjangoSettings

from notifications.hub import runtime
from tests.harness.servers import RedisServer, redis_server

_numbers = count(1)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_not_ignored() -> Iterator[None]:
    """As it is where the tests run in the background of a shell, and so for all that they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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


@pytest.fixture
def own_log(settings: DjangoSettings) -> None:
    """A log in memory that no other test has written to."""
    settings.CARILLON = {**settings.CARILLON, "KEY_PREFIX": f"test-{next(_numbers)}"}


@pytest_asyncio.fixture
async def runtime_ends() -> AsyncIterator[None]:
    """Whatever the test started in its event loop ends with the test."""
    yield
    await runtime.stop()


@pytest.fixture
def no_request_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests with a database, which a WebSocket's own threads would outlive."""
    monkeypatch.setattr("notifications.websocket.session.in_request_thread", nullcontext)

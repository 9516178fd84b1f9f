"""Fixtures for every test: Redis, a log of its own, and the end of what a test has started."""

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
    """Handle SIGINT. A shell makes its background jobs, and all their children, ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def session_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for all tests."""
    folder: Path = tmp_path_factory.mktemp("redis")
    with redis_server(folder, options=("--appendfsync", "no")) as server:
        yield server


@pytest.fixture
def redis(session_redis: RedisServer) -> RedisServer:
    """A Redis that is empty."""
    with session_redis.client() as client:
        client.flushall()
    return session_redis


@pytest.fixture
def own_log(settings: DjangoSettings) -> None:
    """A log in memory that no other test has written to."""
    settings.CARILLON = {**settings.CARILLON, "KEY_PREFIX": f"test-{next(_numbers)}"}


@pytest_asyncio.fixture
async def runtime_ends() -> AsyncIterator[None]:
    """The runtime of the test's event loop ends with the test."""
    yield
    await runtime.stop()


@pytest.fixture
def no_request_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """WebSocket commands run in the test's thread, where the test's database connection is.

    The threads of the pool, with connections of their own, would outlive the test.
    """
    monkeypatch.setattr("notifications.websocket.session.in_request_thread", nullcontext)

"""Fixtures for every test: Redis, a log of its own, and the end of what a test has started."""

import gc
import os
import signal
import sys
import traceback
from asyncio import constants, format_helpers
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import nullcontext
from functools import cache
from itertools import count
from pathlib import Path
from traceback import FrameSummary, StackSummary
from types import FrameType

import httpx
import hypothesis
import pytest
import pytest_asyncio
from httpx._transports import default as httpx_transports
from pytest_django import Settings as DjangoSettings

from notifications.hub import runtime
from notifications.log import embedded
from tests.harness.servers import RedisServer, redis_server

pytest_plugins = ["tests.harness.databases", "tests.harness.progress", "tests.harness.scheduling"]

_numbers = count(1)


def _innermost(f: FrameType | None = None, limit: int | None = None) -> StackSummary:
    f = f or sys._getframe().f_back
    assert f
    return StackSummary(
        [FrameSummary(f.f_code.co_filename, f.f_lineno, f.f_code.co_name, lookup_line=False)]
    )


# asyncio's debug mode keeps the stack of whoever made a callback, a future or a task, and asks for
# the state of each file in it, which took a third of the tests' CPU. The innermost frame, and all
# that the mode checks, remains. The code is replaced, because asyncio's C has the function itself.
vars(constants)["DEBUG_STACK_DEPTH"] = 1
traceback.extract_stack.__code__ = _innermost.__code__
vars(format_helpers)["extract_stack"] = _innermost

# Each client of httpx reads the certificates of all authorities, which takes a twentieth of a
# second, although it speaks to this machine. They are read once.
vars(httpx_transports)["create_ssl_context"] = cache(httpx.create_ssl_context)

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None]:
    """What is imported and collected stays, so the garbage collector need not look at it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing is skipped, whatever the reason: the test fails. Only Docker is optional."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if skipped and os.environ.get("CI") and not item.get_closest_marker("docker"):
        report.outcome = "failed"
        report.longrepr = f"In CI nothing is skipped, and this was: {report.longrepr}"
    return report


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
    with redis_server(folder) as server:
        yield server


@pytest.fixture
def redis(session_redis: RedisServer) -> RedisServer:
    """A Redis that is empty."""
    with session_redis.client() as client:
        client.flushall()
    return session_redis


@pytest.fixture
def development(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment that `./run` makes, except for the data folder and the port."""
    without = {"REDIS_URL", "SECRET_KEY", "CARILLON_PUBLISH_KEYS"}
    given = {name: value for name, value in os.environ.items() if name not in without}
    settings = {"DJANGO_SETTINGS_MODULE": "config.settings", "DEBUG": "1", "PORT": "0"}
    yield {**given, **settings, "DATA_DIR": str(tmp_path)}
    with embedded.running(tmp_path):
        pass


@pytest.fixture
def own_log(settings: DjangoSettings) -> None:
    """A log in memory that no other test has written to."""
    settings.CARILLON = {**settings.CARILLON, "KEY_PREFIX": f"test-{next(_numbers)}"}


@pytest.fixture
def known_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """`/health/ready` knows that the tables exist: a thread that looks would keep a connection."""
    monkeypatch.setattr("notifications.views.health._tables._exist", True)


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
    monkeypatch.setattr("notifications.websocket.session.RequestThread", nullcontext)

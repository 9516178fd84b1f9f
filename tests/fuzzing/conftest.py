"""Settings for fuzzing: the same examples each time, one event loop, and a log in memory."""

import asyncio
import threading
from collections.abc import Iterator
from functools import partial

import pytest
from django.db.backends.sqlite3.base import DatabaseWrapper
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings

from notifications.hub import runtime

fuzzing = partial(
    hypothesis_settings,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def threads_close_their_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads close their connections after each request, as with a database on disk."""
    monkeypatch.setattr(
        DatabaseWrapper,
        "is_in_memory_db",
        lambda self: threading.current_thread() is threading.main_thread(),
    )


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    """One event loop for all examples of a test, as a process has one for all its requests."""
    with asyncio.Runner() as runner:
        yield runner
        runner.run(runtime.stop())


@pytest.fixture
async def no_loop_debugging() -> None:
    """For tests with much traffic, which asyncio's debug mode slows down more than the server."""
    asyncio.get_running_loop().set_debug(enabled=False)

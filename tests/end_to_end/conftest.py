"""Two real web processes of one kind on one Redis, shared by the tests of this folder."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from tests.harness.servers import SERVERS, WebServer, redis_server, wait_until_ready
from tests.harness.tokens import AUDIENCE, ISSUER, SECRET

ALLOWED_ORIGIN = "https://pages.example"

_number = count(1)


@dataclass
class Pair:
    """Two processes: an event that is published at one is delivered at the other."""

    kind: str
    one: WebServer
    other: WebServer

    @property
    def both(self) -> tuple[WebServer, WebServer]:
        return self.one, self.other


@pytest.fixture(scope="package")
def start_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Pair]]:
    """A pair of a kind starts once, and all modules of this package share it."""
    with ExitStack() as stack:
        yield cache(lambda kind: _pair(kind, tmp_path_factory.mktemp(kind), stack))


def _pair(kind: str, folder: Path, stack: ExitStack) -> Pair:
    redis = stack.enter_context(redis_server(folder / "redis"))
    one, other = (
        stack.enter_context(
            SERVERS[kind](
                redis.url,
                folder / name,
                CARILLON_KEEPALIVE="1",
                CARILLON_CORS_ALLOWED_ORIGINS=ALLOWED_ORIGIN,
                CARILLON_JWT_SECRET=SECRET,
                CARILLON_JWT_AUDIENCE=AUDIENCE,
                CARILLON_JWT_ISSUER=ISSUER,
            )
        )
        for name in ("one", "other")
    )
    for server in one, other:  # start them before the deadline of a test begins
        wait_until_ready(server.port)
    return Pair(kind, one, other)


@pytest.fixture(scope="module", params=sorted(SERVERS))
def pair(request: pytest.FixtureRequest, start_pair: Callable[[str], Pair]) -> Pair:
    return start_pair(request.param)


@pytest.fixture
def topic() -> str:
    """A topic that no test has used before."""
    return f"demo.topic-{next(_number)}"


@pytest.fixture
async def loop_without_debug() -> None:
    """For much traffic: asyncio's debug mode costs the test more than all the servers together."""
    asyncio.get_running_loop().set_debug(enabled=False)

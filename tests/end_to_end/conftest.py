"""Two real web processes of one kind on one Redis, shared by the tests of this folder."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count

import pytest

from tests.harness.servers import SERVERS, WebServer, redis_server
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


@pytest.fixture(scope="package", params=sorted(SERVERS))
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    kind: str = request.param
    folder = tmp_path_factory.mktemp(kind)
    with ExitStack() as stack:
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
            server.get("/health/live")
        yield Pair(kind, one, other)


@pytest.fixture
def topic() -> str:
    """A topic that no test has used before."""
    return f"demo.topic-{next(_number)}"


@pytest.fixture
async def loop_without_debug() -> None:
    """For much traffic: asyncio's debug mode costs the test more than all the servers together."""
    asyncio.get_running_loop().set_debug(enabled=False)

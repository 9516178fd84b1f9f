"""A site for each module: a log that loses something is whole again afterwards."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.faults.site import Site, new_topic, running_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def topic() -> str:
    return new_topic()


@pytest.fixture
async def swift_loop() -> None:
    """For much traffic: asyncio's debug mode costs the test more than the servers."""
    asyncio.get_running_loop().set_debug(enabled=False)

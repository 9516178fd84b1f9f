"""A site for each module: a log that loses something is whole again afterwards."""

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

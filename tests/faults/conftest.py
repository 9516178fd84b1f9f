"""A site for each test module, so that a log that lost events is not used by the next module."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.conftest import loop_without_debug
from tests.faults.site import Site, new_topic, running_site

__all__ = ["loop_without_debug"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def topic() -> str:
    return new_topic()

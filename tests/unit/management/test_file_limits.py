"""The limit on descriptors is raised to what the system allows, with a warning if that is few."""

import logging
from collections.abc import Iterator

import pytest

from notifications.management.kernel import (
    FEW_DESCRIPTORS,
    MAX_DESCRIPTORS,
    raise_descriptor_limit,
)

resource = pytest.importorskip("resource")
NOFILE = resource.RLIMIT_NOFILE


@pytest.fixture
def hard() -> Iterator[int]:
    """The hard limit. In the test, the soft limit is far below it."""
    soft, hard = resource.getrlimit(NOFILE)
    resource.setrlimit(NOFILE, (256, hard))
    yield hard
    resource.setrlimit(NOFILE, (soft, hard))


def test_the_limit_is_raised_to_the_hard_limit(hard: int) -> None:
    raise_descriptor_limit()
    limit = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    assert resource.getrlimit(NOFILE) == (limit, hard)


def test_a_low_limit_is_worth_a_warning(hard: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "carillon"):
        raise_descriptor_limit(at_most=300)
    assert "descriptors.few limit=300" in caplog.text


def test_a_high_limit_is_not(hard: int, caplog: pytest.LogCaptureFixture) -> None:
    raise_descriptor_limit()
    assert ("descriptors.few" in caplog.text) == (hard < FEW_DESCRIPTORS)

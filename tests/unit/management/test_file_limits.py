"""As many descriptors as the system allows, and a word where that is few."""

import logging
from collections.abc import Iterator

import pytest

from notifications.management.server import listener
from notifications.management.server.listener import raise_limit

resource = pytest.importorskip("resource")
NOFILE = resource.RLIMIT_NOFILE


@pytest.fixture
def hard() -> Iterator[int]:
    """The limit that cannot be raised, while the other is far below it."""
    soft, hard = resource.getrlimit(NOFILE)
    resource.setrlimit(NOFILE, (256, hard))
    yield hard
    resource.setrlimit(NOFILE, (soft, hard))


def test_the_limit_is_raised_to_what_is_allowed(hard: int) -> None:
    raise_limit()
    most = listener.ENOUGH if hard == resource.RLIM_INFINITY else min(hard, listener.ENOUGH)
    assert resource.getrlimit(NOFILE) == (most, hard)


def test_a_low_limit_is_worth_a_warning(
    hard: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener, "ENOUGH", 300)
    with caplog.at_level(logging.WARNING, "carillon"):
        raise_limit()
    assert "descriptors.few limit=300" in caplog.text


def test_a_high_one_is_not(hard: int, caplog: pytest.LogCaptureFixture) -> None:
    raise_limit()
    assert ("descriptors.few" in caplog.text) == (hard < listener.LOW)

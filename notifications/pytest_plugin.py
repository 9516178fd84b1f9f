"""A fixture for pytest: `pytest_plugins = ["notifications.pytest_plugin"]` in `conftest.py`."""

from collections.abc import Iterator

import pytest

from notifications.testing import Outbox, empty_log


@pytest.fixture
def carillon_outbox() -> Iterator[Outbox]:
    """What the test publishes, from nothing on, kept in memory."""
    with empty_log() as outbox:
        yield outbox

"""A fixture for pytest. In `conftest.py`:

pytest_plugins = ["notifications.testing.pytest_plugin"]
"""

from collections.abc import Iterator

import pytest

from notifications.testing import Outbox, empty_log


@pytest.fixture
def carillon_outbox() -> Iterator[Outbox]:
    """What the test publishes, from nothing on, kept in memory."""
    with empty_log() as outbox:
        yield outbox

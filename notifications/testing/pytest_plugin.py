"""The pytest fixture `carillon_outbox`. To use it, write in `conftest.py`:

pytest_plugins = ["notifications.testing.pytest_plugin"]
"""

from collections.abc import Iterator

import pytest

from notifications.testing import Outbox, empty_log


@pytest.fixture
def carillon_outbox() -> Iterator[Outbox]:
    """The events that the test publishes, in a log that is in memory and empty at first."""
    with empty_log() as outbox:
        yield outbox

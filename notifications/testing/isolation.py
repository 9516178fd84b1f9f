"""An empty log in memory for each test, and the relay of its transactional outbox."""

import unittest
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings as django_settings
from django.db import DEFAULT_DB_ALIAS
from django.test.utils import override_settings

from notifications.conf import get_settings
from notifications.log.factory import clear_memory, memory_store
from notifications.publishing.outbox import publish_waiting
from notifications.testing.captured import Outbox, outbox


@contextmanager
def empty_log() -> Iterator[Outbox]:
    """Within the block, `CARILLON["LOG"]` is `memory`, and the log is empty at first."""
    options = getattr(django_settings, "CARILLON", {})
    with override_settings(CARILLON={**options, "LOG": "memory"}):
        memory_store(get_settings(), quiet=True)
        clear_memory()
        yield outbox


class OutboxMixin(unittest.TestCase):
    """List it before any `TestCase` of Django's: each test has an empty log in memory.

    The events that `setUpTestData` publishes are discarded. An `override_settings` of yours
    replaces the whole of `CARILLON`: on a test method, and on a class whose `setUpTestData`
    publishes, it has to include `"LOG": "memory"`.
    """

    @classmethod
    def setUpClass(cls) -> None:
        cls.enterClassContext(empty_log())
        super().setUpClass()

    def setUp(self) -> None:
        # Again, because `override_settings` on the class has replaced the settings since.
        self.enterContext(empty_log())
        super().setUp()


def relay_outbox(using: str = DEFAULT_DB_ALIAS) -> int:
    """Publish the events that wait in the transactional outbox, and return how many there were.

    It reads them within the open transaction, so it works in a test that never commits.
    """
    return publish_waiting(using, get_settings())

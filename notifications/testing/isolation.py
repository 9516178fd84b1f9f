"""A log of its own for each test, in memory and empty."""

import unittest
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings as django_settings
from django.test.utils import override_settings

from notifications.conf import get_settings
from notifications.log.choice import clear_memory, memory_store
from notifications.testing.outbox import Outbox, outbox


@contextmanager
def empty_log() -> Iterator[Outbox]:
    """Meanwhile `CARILLON["LOG"]` is `memory`, and nothing was published before."""
    given = getattr(django_settings, "CARILLON", {})
    with override_settings(CARILLON={**given, "LOG": "memory"}):
        memory_store(get_settings(), quiet=True)
        clear_memory()
        yield outbox


class OutboxMixin(unittest.TestCase):
    """Put it before any `TestCase` of Django's: each test has an empty log in memory.

    What `setUpTestData` publishes goes nowhere. An `override_settings` of yours replaces the whole
    of `CARILLON`: around a test, or where `setUpTestData` publishes, it has to hold the `LOG`.
    """

    @classmethod
    def setUpClass(cls) -> None:
        cls.enterClassContext(empty_log())
        super().setUpClass()

    def setUp(self) -> None:
        # Once more, over the settings of the class's own `override_settings`.
        self.enterContext(empty_log())
        super().setUp()

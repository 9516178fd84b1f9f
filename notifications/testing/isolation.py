"""A log of its own for each test, in memory and empty."""

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


# The outbox of an application's own transactions, without a relay.


def relay_outbox(using: str = DEFAULT_DB_ALIAS) -> int:
    """Publish what waits in the outbox, and say how many events that was.

    Here and now, in the transaction that is open: where a test never commits, this is its relay.
    """
    return publish_waiting(using, get_settings())

"""The deliverers of a process, in threads: `carillon relay` runs them beside its relays."""

import random
import threading
from collections.abc import Sequence

from django.conf import settings as django_settings
from django.db import Error as DatabaseError
from django.db import connections
from django.urls import set_script_prefix

from notifications.conf import Settings
from notifications.inbox.channels import Channel
from notifications.inbox.delivery.deliverer import Deliverer
from notifications.inbox.delivery.senders import Away
from notifications.inbox.kinds import is_asked_for
from notifications.publishing.outbox.connections import close_broken
from notifications.telemetry.logs import logger

POLL_SECONDS = 5.0
"""Between two looks for what is due."""
LONGEST_FAILURE_PAUSE_SECONDS = 60.0
STOP_SECONDS = 10.0
"""How long stopping waits, at most, for the message that is being sent."""


def delivery_threads(using: str, settings: Settings) -> "list[DeliveryThread]":
    """One for each channel that any kind asks for, so that a server that is slow delays no other's.

    The first has the other channels, too: what was to be sent by them is suppressed.
    """
    asked_for = [channel for channel in Channel if is_asked_for(channel)]
    others = [channel for channel in Channel if channel not in asked_for]
    return [
        DeliveryThread(using, settings, [channel, *([] if number else others)])
        for number, channel in enumerate(asked_for)
    ]


class DeliveryThread:
    """Delivers from `start` to `stop`, also after failures of the database and of servers."""

    def __init__(self, using: str, settings: Settings, channels: Sequence[Channel]) -> None:
        self.using = using
        self._deliverer = Deliverer(
            using, lease_seconds=settings.INBOX_DELIVERY_LEASE, channels=channels
        )
        self._woken = threading.Event()
        self._failures = 0
        self._thread = threading.Thread(
            target=self._run, name=f"carillon-{channels[0]}-{using}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End after the message that is being sent, and let others have the rest."""
        self._deliverer.is_stopping = True
        self._woken.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        # Of this thread: Django sets it in the main thread only.
        set_script_prefix(django_settings.FORCE_SCRIPT_NAME or "/")
        try:
            while not self._deliverer.is_stopping:
                self._woken.wait(self._step())
        finally:
            connections.close_all()

    def _step(self) -> float:
        """Deliver a batch, and return how many seconds to pause afterwards."""
        close_broken(self.using)
        try:
            was_due = self._deliverer.deliver_some()
        except DatabaseError as error:
            connections[self.using].close()
            return self._failed("delivery.database_away", error)
        except Away as error:
            return self._failed("delivery.server_away", error)
        except Exception as error:
            logger.exception("delivery.broken", database=self.using)
            return self._failed("delivery.broken", error)
        if self._failures:
            logger.info("delivery.recovered", database=self.using)
            self._failures = 0
        return 0 if was_due else POLL_SECONDS

    def _failed(self, event: str, error: Exception) -> float:
        if not self._failures:
            logger.warning(event, database=self.using, error=str(error))
        self._failures += 1
        doubled: float = 2.0 ** min(self._failures, 10)
        return min(doubled, LONGEST_FAILURE_PAUSE_SECONDS) * random.uniform(0.5, 1)

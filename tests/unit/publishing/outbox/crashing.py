"""A process that dies at the worst of moments.

python -m tests.unit.publishing.outbox.crashing MOMENT
"""

import os
import signal
import sys
from typing import Any

import django
from django.db import transaction

from notifications import publish_outbox
from notifications.conf import get_settings
from notifications.publishing.outbox import relay, table


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before_commit() -> None:
    with transaction.atomic():
        publish_outbox("t", "never committed")
        die()


def after_commit() -> None:
    with transaction.atomic():
        publish_outbox("t", "committed")
    die()


def after_publishing() -> None:
    """A relay that has published, and has not said so."""
    table.delete = die
    relay.Relay("default", get_settings()).run()


if __name__ == "__main__":
    django.setup()
    {each.__name__: each for each in (before_commit, after_commit, after_publishing)}[sys.argv[1]]()

"""A process that kills itself at a chosen moment.

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


def die(*_: Any, **__: Any) -> Any:
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
    """A relay that has published a batch, and has not deleted its rows."""
    table.remove = die
    relay.Relay("default", get_settings()).run()


if __name__ == "__main__":
    django.setup()
    moments = (before_commit, after_commit, after_publishing)
    {moment.__name__: moment for moment in moments}[sys.argv[1]]()

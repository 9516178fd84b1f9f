"""The outbox of an application's own transactions, without a relay."""

from django.db import DEFAULT_DB_ALIAS

from notifications.conf import get_settings
from notifications.outbox import publish_waiting


def relay_outbox(using: str = DEFAULT_DB_ALIAS) -> int:
    """Publish what waits in the outbox, and say how many events that was.

    Here and now, in the transaction that is open: where a test never commits, this is its relay.
    """
    return publish_waiting(using, get_settings())

"""The database connections of a thread that works for as long as its process runs."""

from django.db import connections


def close_broken(using: str) -> None:
    """Close those that failed, but for the thread's own to `using`: it closes that itself.

    The text of a notification may read any database, and Django looks only when a request begins.
    """
    for connection in connections.all(initialized_only=True):
        if connection.alias != using:
            connection.close_if_unusable_or_obsolete()

"""What a failed call has kept: for certain nothing, or what nobody knows."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)

from notifications.errors import CarillonError, Unavailable
from notifications.log.layout import NOTHING_KEPT

UNAVAILABLE_ERRORS = (RedisError, OSError, TimeoutError)
"""What redis-py and its sockets raise when the server cannot be reached or does not answer."""
LOG_MOVED_ERRORS = (ReadOnlyError, MovedError, ClusterDownError)
"""This server does not have the log any more: drop the connection, and discover the log again."""
REDIRECTED_ERRORS = (MovedError, AskError, TryAgainError)
"""Another node of the cluster has the log, or is about to get it. The command had no effect."""
REFUSALS = (
    *(AuthenticationError, BusyLoadingError, ClusterDownError, ClusterCrossSlotError),
    *(MasterDownError, NoPermissionError, MovedError, AskError, TryAgainError),
)
"""What a server replies instead of running the script."""
_REFUSAL_TEXTS = ("BUSY ", "unknown command", "max number of clients reached")


def unavailable(error: BaseException, *, sent: bool) -> Unavailable:
    """The error for a failed command.

    Only a refusal is known to have kept nothing: the script's own says so, and the others come
    before the script runs. Any other error may come after it, also an error that a proxy replies.
    """
    why = str(error) or "no answer in time"
    refused = (
        isinstance(error, REFUSALS) or why.endswith(NOTHING_KEPT) or why.startswith(_REFUSAL_TEXTS)
    )
    why = why.removesuffix(NOTHING_KEPT).rstrip(".")
    if isinstance(error, AuthenticationError):
        detail = f"Redis refused the name or the password in REDIS_URL: {why}."
    elif refused:
        detail = f"Redis refused it: {why}."
    elif sent:
        detail = f"Redis did not acknowledge it: {why}."
    else:
        detail = f"Redis cannot be reached: {why}. Does it run, and is REDIS_URL right?"
    return Unavailable(detail, outcome="unknown" if sent and not refused else "not_sent")


def check_replicas(confirmed: int, required: int) -> None:
    """Raise `Unavailable` if too few replicas have confirmed a write."""
    if confirmed < required:
        raise Unavailable(
            f"The log has it, and {confirmed} of {required} replicas confirmed in time.",
            outcome="unknown",
        )


def unconfirmed(error: BaseException) -> Unavailable:
    """The error if the reply to `WAIT` failed, in whatever way: the log has the event by then."""
    return Unavailable(
        f"The log has it, and no replica confirmed: {str(error) or 'no answer in time'}.",
        outcome="unknown",
    )


@contextmanager
def reading() -> Iterator[None]:
    """The block reads a reply. What it cannot read, the server sent after it executed something."""
    try:
        yield
    except CarillonError:
        raise
    except Exception as error:
        raise Unavailable(
            f"Redis replied something that Carillon cannot read ({type(error).__name__}).",
            outcome="unknown",
        ) from error

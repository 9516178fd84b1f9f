"""What to tell somebody at a shell who could not reach the log."""

from notifications.conf import get_settings
from notifications.errors import CarillonError, Unavailable


def explained(error: CarillonError) -> str:
    if isinstance(error, Unavailable) and get_settings().LOG == "embedded":
        return "The embedded log is not running: start ./run first, or set REDIS_URL."
    return error.detail

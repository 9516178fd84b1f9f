"""Whether a session is just getting another key, so that deleting the old one ends nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_moving: ContextVar[bool] = ContextVar("carillon_session_moving", default=False)


def is_moving() -> bool:
    return _moving.get()


@contextmanager
def moving() -> Iterator[None]:
    token = _moving.set(True)
    try:
        yield
    finally:
        _moving.reset(token)

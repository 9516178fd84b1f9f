"""Garbage in a serving process: looked for seldom, and found."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from notifications.management.server.launch import YOUNG, collect_seldom


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class Cycle:
    def __init__(self) -> None:
        self.itself = self


def test_what_is_there_is_not_looked_at_again() -> None:
    collect_seldom()
    assert gc.get_freeze_count() > 10_000


def test_new_cycles_still_go() -> None:
    collect_seldom()
    gone: list[object] = []
    cycle = weakref.ref(Cycle(), gone.append)
    kept: list[list[object]] = []
    while not gone:
        kept.append([])
        assert len(kept) <= 2 * YOUNG
    assert cycle() is None

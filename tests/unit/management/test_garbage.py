"""Cyclic garbage in a serving process is collected rarely, and collected."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from notifications.management.carillon.launch import GC_THRESHOLDS, tune_garbage_collector


@pytest.fixture(autouse=True)
def restore_garbage_collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    gc.unfreeze()
    yield
    gc.set_threshold(*thresholds)


class Cycle:
    def __init__(self) -> None:
        self.itself = self


def test_existing_objects_are_not_scanned_again() -> None:
    tune_garbage_collector()
    assert gc.get_freeze_count() > 10_000


def test_new_cycles_are_still_collected() -> None:
    tune_garbage_collector()
    collected: list[object] = []
    cycle = weakref.ref(Cycle(), collected.append)
    allocated: list[list[object]] = []
    while not collected:
        allocated.append([])
        assert len(allocated) <= 2 * GC_THRESHOLDS[0]
    assert cycle() is None

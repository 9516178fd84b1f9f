"""The memory in which workers exchange their metrics: nothing is lost, whoever is killed when."""

import os
from collections.abc import Iterator

import pytest

from notifications.telemetry.snapshots import ENDED, HALF_BYTES, REGION_BYTES, Snapshots, added


@pytest.fixture
def snapshots() -> Iterator[Snapshots]:
    created = Snapshots.create()
    yield created
    os.close(created.descriptor)


def total(snapshots: Snapshots) -> float:
    return sum(value for _, _, value in added(snapshots.read_all()))


def test_the_counts_of_processes_that_ended_are_kept_and_their_gauges_are_not(
    snapshots: Snapshots,
) -> None:
    one, other = snapshots.allocate(), snapshots.allocate()
    snapshots.write(one, 11, [("a_total", {"code": "x"}, 2.0)], [("open", {}, 5.0)])
    snapshots.write(other, 12, [("a_total", {"code": "x"}, 3.0)], [("open", {}, 7.0)])
    assert added(snapshots.read_all()) == [("a_total", {"code": "x"}, 5.0)]
    snapshots.retire(one)
    assert added(snapshots.read_all()) == [("a_total", {"code": "x"}, 5.0)]
    [ended, alive] = snapshots.read_all()
    assert (ended.gauges, [value for _, _, value in alive.gauges]) == ([], [7.0])
    successor = snapshots.allocate()
    assert successor == one
    snapshots.write(successor, 13, [("a_total", {"code": "x"}, 1.0)], [])
    snapshots.retire(other)
    assert added(snapshots.read_all()) == [("a_total", {"code": "x"}, 6.0)]


def test_a_process_that_wrote_nothing_leaves_nothing(snapshots: Snapshots) -> None:
    snapshots.retire(snapshots.allocate())
    assert total(snapshots) == 0


def test_a_process_killed_while_it_writes_leaves_its_last_whole_snapshot(
    snapshots: Snapshots,
) -> None:
    region = snapshots.allocate()
    snapshots.write(region, 11, [("a", {}, 1.0)], [])
    snapshots.write(region, 11, [("a", {}, 2.0)], [])
    for half in (0, 1):
        start = region * REGION_BYTES + half * HALF_BYTES
        whole = os.pread(snapshots.descriptor, 4096, start)
        os.pwrite(snapshots.descriptor, b"torn", start + 20)
        assert total(snapshots) in {1.0, 2.0}
        os.pwrite(snapshots.descriptor, whole, start)


def test_a_process_is_not_counted_twice_while_its_counts_move(snapshots: Snapshots) -> None:
    """The supervisor writes the sum first, and clears the region after."""
    region = snapshots.allocate()
    snapshots.write(region, 11, [("a", {}, 4.0)], [])
    snapshots.write(ENDED, 11, [("a", {}, 4.0)], [])
    assert total(snapshots) == 4.0

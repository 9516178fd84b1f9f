"""Read sizes: they grow while entries are small, and shrink before a read has too many bytes."""

import pytest

from notifications.log.reader import (
    FIRST_READ_ENTRIES,
    MAX_READ_BYTES,
    MAX_READ_ENTRIES,
    MIN_READ_ENTRIES,
    Raw,
    ReadSize,
)


def read(read_size: ReadSize, *, size: int, lag: int = 10**6) -> int:
    """Read from a log with entries of one size, and return the bytes of that read."""
    raw: list[Raw] = [(b"1-1", [b"data", b"x" * size])] * min(read_size.count, lag)
    read_size.adapt(raw)
    return len(raw) * size


def test_a_tail_that_lags_by_small_entries_reads_many_at_a_time() -> None:
    read_size = ReadSize()
    counts = []
    for _ in range(5):
        read(read_size, size=200)
        counts.append(read_size.count)
    assert counts == [200, 400, MAX_READ_ENTRIES, MAX_READ_ENTRIES, MAX_READ_ENTRIES]


def test_large_entries_are_read_a_few_at_a_time() -> None:
    read_size = ReadSize()
    first = read(read_size, size=64_000)
    assert first == FIRST_READ_ENTRIES * 64_000
    for _ in range(5):
        assert read(read_size, size=64_000) <= MAX_READ_BYTES
        assert read(read_size, size=64_000) > MAX_READ_BYTES / 4


def test_huge_entries_are_still_read() -> None:
    read_size = ReadSize()
    for _ in range(3):
        read(read_size, size=3_000_000)
    assert read_size.count == MIN_READ_ENTRIES


def test_a_tail_that_has_caught_up_reads_few_entries_again() -> None:
    read_size = ReadSize()
    for _ in range(5):
        read(read_size, size=200)
    for _ in range(2):
        read(read_size, size=200, lag=3)
    assert read_size.count == FIRST_READ_ENTRIES


@pytest.mark.parametrize("batch", [90, 130, 250, 333, 500])
def test_batches_that_come_again_and_again_are_each_one_read(batch: int) -> None:
    read_size = ReadSize()
    for _ in range(10):
        left = batch
        reads = 0
        while left:
            count = min(left, read_size.count)
            read(read_size, size=200, lag=left)
            left -= count
            reads += 1
    assert reads == 1

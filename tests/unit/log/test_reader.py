"""Portions: they grow while entries are small, and shrink before they are too much."""

from notifications.log.reader import BYTES, FEWEST, FIRST, MOST, Raw, ReadSize


def read(read_size: ReadSize, *, size: int, lag: int = 10**6) -> int:
    """Bytes that a read brings from a log of such entries."""
    raw: list[Raw] = [(b"1-1", [b"data", b"x" * size])] * min(read_size.count, lag)
    read_size.took(raw)
    return len(raw) * size


def test_a_lag_of_small_entries_is_made_up_for_in_large_portions() -> None:
    read_size = ReadSize()
    counts = []
    for _ in range(5):
        read(read_size, size=200)
        counts.append(read_size.count)
    assert counts == [200, 400, MOST, MOST, MOST]


def test_large_entries_are_read_a_few_at_a_time() -> None:
    read_size = ReadSize()
    first = read(read_size, size=64_000)
    assert first == FIRST * 64_000
    for _ in range(5):
        assert read(read_size, size=64_000) <= BYTES
        assert read(read_size, size=64_000) > BYTES / 4


def test_huge_entries_still_come() -> None:
    read_size = ReadSize()
    for _ in range(3):
        read(read_size, size=3_000_000)
    assert read_size.count == FEWEST


def test_one_that_has_caught_up_begins_small_again() -> None:
    read_size = ReadSize()
    for _ in range(5):
        read(read_size, size=200)
    read(read_size, size=200, lag=3)
    assert read_size.count == FIRST

"""Portions: they grow while entries are small, and shrink before they are too much."""

from notifications.log.reader import BYTES, FEWEST, FIRST, MOST, Portion, Raw


def read(portion: Portion, *, size: int, lag: int = 10**6) -> int:
    """Bytes that a read brings from a log of such entries."""
    raw: list[Raw] = [(b"1-1", [b"data", b"x" * size])] * min(portion.count, lag)
    portion.took(raw)
    return len(raw) * size


def test_a_lag_of_small_entries_is_made_up_for_in_large_portions() -> None:
    portion = Portion()
    counts = []
    for _ in range(5):
        read(portion, size=200)
        counts.append(portion.count)
    assert counts == [200, 400, MOST, MOST, MOST]


def test_large_entries_are_read_a_few_at_a_time() -> None:
    portion = Portion()
    first = read(portion, size=64_000)
    assert first == FIRST * 64_000
    for _ in range(5):
        assert read(portion, size=64_000) <= BYTES
        assert read(portion, size=64_000) > BYTES / 4


def test_huge_entries_still_come() -> None:
    portion = Portion()
    for _ in range(3):
        read(portion, size=3_000_000)
    assert portion.count == FEWEST


def test_one_that_has_caught_up_begins_small_again() -> None:
    portion = Portion()
    for _ in range(5):
        read(portion, size=200)
    read(portion, size=200, lag=3)
    assert portion.count == FIRST

"""Backoff: pauses double up to a limit, and vary by half."""

from notifications.log.backoff import Backoff


def mean(low: float, high: float) -> float:
    return (low + high) / 2


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(1, 5, uniform=mean)
    assert [backoff.next_pause() for _ in range(5)] == [1, 2, 4, 5, 5]


def test_a_reset_starts_with_the_first_pause_again() -> None:
    backoff = Backoff(1, 5, uniform=mean)
    backoff.next_pause()
    backoff.next_pause()
    backoff.reset()
    assert backoff.next_pause() == 1


def test_a_pause_varies_by_half() -> None:
    shortest, longest = Backoff(2, 4, uniform=min), Backoff(2, 4, uniform=max)
    assert (shortest.next_pause(), longest.next_pause()) == (1, 3)

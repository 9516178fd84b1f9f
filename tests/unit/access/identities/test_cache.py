"""What was verified a moment ago: for a while, so many, and not after it was forgotten."""

import pytest

from notifications.access.identities import cache
from notifications.access.identities.base import Identity, Kind
from notifications.access.identities.cache import AGE, Verified


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


ADA = Identity(kind=Kind.KEY, name="key:ada", subjects=("key:1",))
EVE = Identity(kind=Kind.KEY, name="key:eve", subjects=("key:2",))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def known(clock: Clock) -> Verified:
    return Verified(clock)


def test_it_is_found_for_a_while_and_then_not(known: Verified, clock: Clock) -> None:
    known.add("a", ADA, generation=known.generation)
    clock.now += AGE - 0.1
    assert known.get("a") is ADA
    clock.now += 0.2
    assert known.get("a") is None


def test_what_was_never_there_is_not_found_at_any_time(known: Verified, clock: Clock) -> None:
    clock.now = 0.0
    assert known.get("a") is None


def test_only_the_subject_that_is_named_is_forgotten(known: Verified) -> None:
    known.add("a", ADA, generation=known.generation)
    known.add("e", EVE, generation=known.generation)
    known.forget("key:1")
    assert (known.get("a"), known.get("e")) == (None, EVE)


def test_what_was_looked_up_before_something_was_forgotten_is_not_added(known: Verified) -> None:
    generation = known.generation
    known.forget("key:1")
    known.add("a", ADA, generation=generation)
    assert known.get("a") is None


def test_the_oldest_of_too_many_goes(known: Verified, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SIZE", 2)
    for name in "abac":
        known.add(name, ADA, generation=known.generation)
    assert [name for name in "abc" if known.get(name)] == ["a", "c"]

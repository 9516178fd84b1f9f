"""The cache of verified credentials: its age, its size, and subjects that are forgotten."""

import pytest

from notifications.access.identities.base import Identity, Kind
from notifications.access.identities.cache import MAX_AGE_SECONDS, CredentialCache
from tests.harness.fakes import FakeClock

ADA = Identity(kind=Kind.KEY, name="key:ada", subjects=("key:1",))
EVE = Identity(kind=Kind.KEY, name="key:eve", subjects=("key:2",))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cache(clock: FakeClock) -> CredentialCache:
    return CredentialCache(clock=clock)


def test_an_identity_is_cached_for_a_while_and_then_not(
    cache: CredentialCache, clock: FakeClock
) -> None:
    cache.add("a", ADA, generation=cache.generation)
    clock.now += MAX_AGE_SECONDS - 0.1
    assert cache.get("a") is ADA
    clock.now += 0.2
    assert cache.get("a") is None


def test_unknown_credentials_are_not_found_at_any_time(
    cache: CredentialCache, clock: FakeClock
) -> None:
    clock.now = 0.0
    assert cache.get("a") is None


def test_only_the_named_subject_is_forgotten(cache: CredentialCache) -> None:
    cache.add("a", ADA, generation=cache.generation)
    cache.add("e", EVE, generation=cache.generation)
    cache.forget("key:1")
    assert (cache.get("a"), cache.get("e")) == (None, EVE)


def test_an_identity_that_was_looked_up_before_a_forget_is_not_added(
    cache: CredentialCache,
) -> None:
    generation = cache.generation
    cache.forget("key:1")
    cache.add("a", ADA, generation=generation)
    assert cache.get("a") is None


def test_a_full_cache_drops_its_oldest_entry() -> None:
    cache = CredentialCache(max_entries=2)
    for name in "abac":
        cache.add(name, ADA, generation=cache.generation)
    assert [name for name in "abc" if cache.get(name)] == ["a", "c"]

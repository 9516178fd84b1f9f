"""How long a log in memory remembers idempotency keys: as Redis does."""

import pytest

from notifications.errors import Conflict
from notifications.events import Event
from notifications.log.entries import Draft, Receipt
from notifications.log.keys_in_memory import KeysInMemory
from tests.harness.fakes import FakeClock

AGE = 60.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(0.0)


@pytest.fixture
def keys(clock: FakeClock) -> KeysInMemory:
    return KeysInMemory(clock, AGE)


def use(keys: KeysInMemory, part: str = "", fingerprint: str = "f") -> bool:
    """Whether the log has it already."""
    draft = Draft(Event(topics=("t",), data="x"), "k", fingerprint, part=part)
    keys.refuse_conflicts([draft])
    if keys.receipt(draft):
        return True
    keys.remember(draft, Receipt("id", "cursor"))
    return False


def test_a_key_is_forgotten_at_its_age(keys: KeysInMemory, clock: FakeClock) -> None:
    assert not use(keys)
    clock.now = AGE - 1
    assert use(keys)
    with pytest.raises(Conflict):
        use(keys, fingerprint="e")
    clock.now = AGE
    assert not use(keys, fingerprint="e")


def test_a_key_lives_as_long_after_its_last_part_as_after_its_first(
    keys: KeysInMemory, clock: FakeClock
) -> None:
    assert not use(keys, "1")
    clock.now = AGE - 1
    assert not use(keys, "2")
    clock.now = 2 * AGE - 2
    assert use(keys, "1")
    clock.now = 2 * AGE
    assert not use(keys, "2")


def test_a_new_part_makes_a_released_key_last_again(keys: KeysInMemory, clock: FakeClock) -> None:
    use(keys, "1")
    keys.release(["k", "unknown"], seconds=5)
    use(keys, "2")
    clock.now = 6
    assert use(keys, "1")
    keys.release(["k"], seconds=5)
    clock.now = 11
    assert not use(keys, "1")

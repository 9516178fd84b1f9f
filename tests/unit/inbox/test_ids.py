"""The ids of notifications: UUIDs of version 7 (RFC 9562)."""

import time
import uuid
from itertools import pairwise

import pytest

from notifications.inbox.ids import MAX_IDS_AT_ONCE, new_id, new_ids


def test_an_id_is_a_uuid_of_version_7_of_this_moment() -> None:
    before = time.time_ns() // 1_000_000
    id = new_id()
    assert (id.version, id.variant) == (7, uuid.RFC_4122)
    assert before <= id.int >> 80 <= time.time_ns() // 1_000_000


@pytest.mark.parametrize("bits", [0, -1])
def test_ids_of_one_call_grow_whatever_the_random_bits_are(
    bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.randbits", lambda count: bits % (1 << count))
    ids = list(new_ids(MAX_IDS_AT_ONCE))
    assert all(earlier.int + 1 == later.int for earlier, later in pairwise(ids))
    assert {(id.version, id.variant) for id in (ids[0], ids[-1])} == {(7, uuid.RFC_4122)}


def test_no_two_calls_make_the_same_ids() -> None:
    assert len({id for _ in range(1_000) for id in new_ids(3)}) == 3_000


def test_more_than_the_counter_can_count_is_refused() -> None:
    with pytest.raises(ValueError, match="At most"):
        new_ids(MAX_IDS_AT_ONCE + 1)

"""Whom the seeker asks, and what it makes of the answers."""

import pytest
from redis.crc import key_slot
from redis.exceptions import ConnectionError as Away

from notifications.conf.redis_url import parse
from notifications.log.discovery import Discovery
from notifications.log.script import Keys

SLOT = key_slot(Keys("carillon").stream.encode())


def discovery(url: str) -> Discovery:
    return Discovery(parse(url), "carillon")


def test_everyone_is_asked_and_each_time_another_first() -> None:
    sentinels = discovery("redis+sentinel://one,two,three/main")
    assert [host for host, _ in sentinels.addresses()] == ["one", "two", "three"]
    assert next(sentinels.addresses())[0] == "one"
    assert next(sentinels.addresses())[0] == "two"


def test_a_sentinel_that_knows_no_such_service_is_no_answer() -> None:
    sentinels = discovery("redis+sentinel://one/main")
    assert sentinels.answered(("one", 1), [b"ten", b"6380"]) == ("ten", 6380)
    with pytest.raises(Away):
        sentinels.answered(("one", 1), None)


def test_what_sentinel_names_must_be_a_master() -> None:
    sentinels = discovery("redis+sentinel://one/main")
    sentinels.check_role([b"master", 0, []])
    with pytest.raises(Away):
        sentinels.check_role([b"slave", b"ten", 6380, b"connected", 0])


def test_what_another_has_taken_over_from_is_not_believed() -> None:
    sentinels = discovery("redis+sentinel://one/main")
    sentinels.answered(("one", 1), [b"ten", b"6380"])
    sentinels.check_place("ten", 6380)
    sentinels.answered(("one", 1), [b"eleven", b"6380"])
    with pytest.raises(Away):
        sentinels.check_place("ten", 6380)


def test_the_master_of_the_slot_is_where_the_log_is_and_every_node_can_be_asked() -> None:
    nodes = discovery("redis+cluster://one:1")
    slots = [
        [0, SLOT - 1, [b"two", 2, b"id"]],
        [SLOT, 16383, [b"three", 3, b"id"], [b"four", 4, b"id"]],
    ]
    assert nodes.answered(("one", 1), slots) == ("three", 3)
    assert set(nodes.addresses()) == {("one", 1), ("two", 2), ("three", 3), ("four", 4)}
    nodes.answered(("two", 2), slots[1:])
    assert set(nodes.addresses()) == {("one", 1), ("three", 3), ("four", 4)}


def test_a_node_without_a_name_is_where_it_was_asked() -> None:
    nodes = discovery("redis+cluster://one:1")
    assert nodes.answered(("one", 1), [[0, 16383, [b"", 7, b"id"]]]) == ("one", 7)


def test_a_slot_that_nobody_has_is_no_answer() -> None:
    nodes = discovery("redis+cluster://one:1")
    with pytest.raises(Away):
        nodes.answered(("one", 1), [[SLOT + 1, 16383, [b"two", 2, b"id"]]])

"""Discovery: which servers it asks for the log's address, and how it reads their replies."""

import pytest
from redis.crc import key_slot
from redis.exceptions import ConnectionError as ConnectionFailed

from notifications.conf.redis_url import parse
from notifications.log.discovery import Discovery
from notifications.log.script import Keys

SLOT = key_slot(Keys("carillon").stream.encode())


def discovery(url: str) -> Discovery:
    return Discovery(parse(url), SLOT)


def test_every_server_is_asked_and_each_round_starts_with_another() -> None:
    sentinels = discovery("redis+sentinel://one,two,three/main")
    assert [host for host, _ in sentinels.candidates()] == ["one", "two", "three"]
    assert next(sentinels.candidates())[0] == "one"
    assert next(sentinels.candidates())[0] == "two"


def test_a_sentinel_that_does_not_know_the_service_is_a_failed_connection() -> None:
    sentinels = discovery("redis+sentinel://one/main")
    assert sentinels.read_reply(("one", 1), [b"ten", b"6380"]) == ("ten", 6380)
    with pytest.raises(ConnectionFailed):
        sentinels.read_reply(("one", 1), None)


def test_the_server_that_sentinel_names_must_be_a_master() -> None:
    sentinels = discovery("redis+sentinel://one/main")
    sentinels.check_role([b"master", 0, []])
    with pytest.raises(ConnectionFailed):
        sentinels.check_role([b"slave", b"ten", 6380, b"connected", 0])


def test_a_reply_of_a_former_master_is_refused() -> None:
    sentinels = discovery("redis+sentinel://one/main")
    sentinels.read_reply(("one", 1), [b"ten", b"6380"])
    sentinels.check_address("ten", 6380)
    sentinels.read_reply(("one", 1), [b"eleven", b"6380"])
    with pytest.raises(ConnectionFailed):
        sentinels.check_address("ten", 6380)


def test_the_master_of_the_slot_has_the_log_and_every_node_can_be_asked() -> None:
    nodes = discovery("redis+cluster://one:1")
    slots = [
        [0, SLOT - 1, [b"two", 2, b"id"]],
        [SLOT, 16383, [b"three", 3, b"id"], [b"four", 4, b"id"]],
    ]
    assert nodes.read_reply(("one", 1), slots) == ("three", 3)
    assert set(nodes.candidates()) == {("one", 1), ("two", 2), ("three", 3), ("four", 4)}
    nodes.read_reply(("two", 2), slots[1:])
    assert set(nodes.candidates()) == {("one", 1), ("three", 3), ("four", 4)}


def test_a_node_without_a_name_has_the_name_it_was_asked_by() -> None:
    nodes = discovery("redis+cluster://one:1")
    assert nodes.read_reply(("one", 1), [[0, 16383, [b"", 7, b"id"]]]) == ("one", 7)


def test_a_slot_that_no_node_has_is_a_failed_connection() -> None:
    nodes = discovery("redis+cluster://one:1")
    with pytest.raises(ConnectionFailed):
        nodes.read_reply(("one", 1), [[SLOT + 1, 16383, [b"two", 2, b"id"]]])

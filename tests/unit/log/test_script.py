"""The commands for Redis: Lua and Python agree about arguments and fields."""

from typing import Any

import pytest

from notifications.errors import Unavailable
from notifications.events import Event
from notifications.log import script
from notifications.log.cursors import Cursor, make_position
from notifications.log.entries import Draft, Retention
from notifications.log.layout import DRAFT_ARGUMENTS, ENTRY_FIELDS, OPTIONAL_FIELDS
from tests.harness.servers import RedisServer

KEYS = script.Keys("script")
RETENTION = Retention(events=1000, bytes=10**7, age=3600)


def append(redis: RedisServer, draft: Draft) -> list[bytes]:
    """Append a draft, and return the names and values of its entry."""
    with redis.client() as client:
        client.execute_command(*script.as_eval(script.append(KEYS, RETENTION, [draft])))
        client.response_callbacks.clear()
        [[_, fields]] = client.execute_command("XREVRANGE", KEYS.stream, "+", "-", "COUNT", 1)
    result: list[bytes] = fields
    return result


def test_an_entry_has_its_fields_in_the_order_of_the_layout(redis: RedisServer) -> None:
    event = Event(topics=("a", "b"), data="x", type="paid", id="urn:1", retry=500)
    fields = append(redis, Draft(event, skip=("user:1",)))
    names = [name.decode() for name in fields[::2]]
    assert names == [*ENTRY_FIELDS, *OPTIONAL_FIELDS]
    values = dict(zip(names, fields[1::2], strict=True))
    del values["prev"], values["at"], values["mark"]
    assert values.pop("events").startswith(b"0 ")
    assert values == {
        "kind": b"event",
        "topics": b"a\nb",
        "id": b"urn:1",
        "type": b"paid",
        "data": b"x",
        "form": b"text",
        "retry": b"500",
        "skip": b"user:1",
    }


def test_an_entry_without_mark_and_skip_has_no_optional_fields(redis: RedisServer) -> None:
    fields = append(redis, Draft(Event(topics=("a",), data="x"), named=False))
    assert [name.decode() for name in fields[::2]] == [*ENTRY_FIELDS]


@pytest.mark.parametrize("keys", [0, 3])
def test_a_repetition_differs_only_in_the_cursor_it_searches_after(keys: int) -> None:
    drafts = [Draft(Event(topics=("a",), data="x"), key=f"{i}") for i in range(keys)]
    drafts.append(Draft(Event(topics=("a",), data="x")))
    command = script.append(KEYS, RETENTION, drafts)
    repetition = script.repetition(command, Cursor("0123456789ab", make_position(7)))
    differing = [pair for pair in zip(command, repetition, strict=True) if pair[0] != pair[1]]
    assert differing == [("", "0123456789ab 7-0")]


def test_a_command_has_all_arguments_of_each_draft() -> None:
    drafts = [Draft(Event(topics=("a",), data="x")) for _ in range(3)]
    one, three = (script.append(KEYS, RETENTION, drafts[:count]) for count in (1, 3))
    assert len(three) - len(one) == 2 * len(DRAFT_ARGUMENTS)


@pytest.mark.parametrize(
    ("info", "policy"),
    [
        (b"# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n", "allkeys-lru"),
        (b"# Memory\r\n", "unknown"),
    ],
)
def test_the_eviction_policy_is_read_from_info(info: bytes, policy: str) -> None:
    assert script.eviction_policy(info) == policy


@pytest.mark.parametrize(("error", "sent"), [(TimeoutError(), False), (TimeoutError(), True)])
def test_an_error_after_sending_leaves_the_outcome_unknown(error: Any, sent: bool) -> None:
    unavailable = script.unavailable(error, sent=sent)
    assert isinstance(unavailable, Unavailable)
    assert unavailable.outcome == ("unknown" if sent else "not_sent")

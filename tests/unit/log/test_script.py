"""The commands for Redis: Lua and Python agree about arguments and entries."""

from typing import Any

import pytest

from notifications.events import Event, Swap
from notifications.log import script, sections
from notifications.log.cursors import Cursor, make_position
from notifications.log.entries import Draft, Retention
from notifications.log.layout import (
    DRAFT_ARGUMENTS,
    DRAFT_OPTIONS,
    SECTION_ARGUMENTS,
)
from notifications.log.memory import MemoryStore
from tests.harness.raw_log import RawEntry, raw_entries
from tests.harness.servers import RedisServer

KEYS = script.Keys("script")
RETENTION = Retention(events=1000, bytes=10**7, age=3600)


def append(redis: RedisServer, draft: Draft) -> RawEntry:
    """Append a draft, and return its entry."""
    with redis.client() as client:
        call = sections.append(KEYS, RETENTION, [sections.section(KEYS, [draft])])
        client.execute_command(*script.as_eval(call))
        return raw_entries(client, KEYS.stream)[-1]


@pytest.mark.parametrize(
    "draft",
    [
        Draft(Event(topics=("a", "b"), data="x"), named=False),
        Draft(Event(topics=("a",), data={"x": "\n"}, type="paid"), named=False),
        Draft(Event(topics=("a",), data="1\n\n2\n"), named=False, skip=("user:1", "user:2")),
        Draft(
            Event(topics=("a",), data="x", type="paid", retry=500, swap=Swap("list")),
            named=False,
            trace="00-1-2-01",
        ),
    ],
)
def test_the_script_writes_an_event_as_the_log_in_memory_has_it(
    redis: RedisServer, draft: Draft
) -> None:
    store = MemoryStore(RETENTION)
    store.append([draft])
    [(_, topics, content)] = store.records
    entry = append(redis, draft)
    assert [each.decode() for each in entry.topics] == [*topics]
    assert entry.content == content


def test_an_entry_names_its_predecessor_and_what_is_before_it(redis: RedisServer) -> None:
    first = append(redis, Draft(Event(topics=("a",), data="x"), named=False))
    second = append(redis, Draft(Event(topics=("a",), data="x"), named=False))
    assert second.prev == first.position
    before, after = (list(map(int, each.counts)) for each in (first, second))
    assert after == [before[0] + len(b"a") + len(first.content), before[1] + 1]
    assert second.last_event == first.position


def test_an_event_whose_id_was_chosen_has_a_mark_in_front(redis: RedisServer) -> None:
    draft = Draft(Event(topics=("a",), data="x", id="urn:1"))
    mark, id, *_ = append(redis, draft).content.split(b"\n")
    assert (len(mark), id) == (2 * sections.MARK_BYTES + len(b".0"), b"urn:1")


@pytest.mark.parametrize("keys", [0, 3])
def test_a_repetition_differs_only_in_the_cursor_it_searches_after(keys: int) -> None:
    drafts = [Draft(Event(topics=("a",), data="x"), key=f"{i}") for i in range(keys)]
    drafts.append(Draft(Event(topics=("a",), data="x")))
    section = sections.section(keys_of_one_epoch(), drafts)
    repetition = sections.repetition(section, Cursor("0123456789ab", make_position(7)))
    one, other = (
        sections.append(keys_of_one_epoch(), RETENTION, [each]) for each in (section, repetition)
    )
    differing = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
    assert differing == [("", "0123456789ab 7-0")]


def keys_of_one_epoch() -> script.Keys:
    return script.Keys("script", lambda size: "ab" * size)


def test_a_command_has_all_arguments_of_each_draft_and_of_each_section() -> None:
    drafts = [Draft(Event(topics=("a",), data="x")) for _ in range(3)]
    one, three, three_sections = (
        len(sections.append(KEYS, RETENTION, [sections.section(KEYS, some) for some in group]))
        for group in ([drafts[:1]], [drafts], [[draft] for draft in drafts])
    )
    assert three - one == 2 * len((*DRAFT_ARGUMENTS, *_UP_TO_PART))
    assert three_sections - three == 2 * (1 + len(SECTION_ARGUMENTS))


_UP_TO_PART = DRAFT_OPTIONS[: DRAFT_OPTIONS.index("part") + 1]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"named": False}, 0),
        ({}, len(_UP_TO_PART)),
        ({"named": False, "key": "k", "part": "1"}, len(_UP_TO_PART)),
        ({"named": False, "trace": "00-a-b-01"}, len(DRAFT_OPTIONS)),
        ({"skip": ("user:5",)}, len(DRAFT_OPTIONS)),
    ],
    ids=str,
)
def test_what_is_empty_at_the_end_of_a_draft_is_left_out(
    options: dict[str, Any], count: int
) -> None:
    draft = Draft(Event(topics=("a",), data="x"), **options)
    first, *arguments = sections.section(KEYS, [draft]).arguments
    assert first == count
    assert len(arguments) == len(DRAFT_ARGUMENTS) - 1 + count


@pytest.mark.parametrize(
    ("info", "policy", "breaks"),
    [
        (b"# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n", "allkeys-lru", "resets"),
        (b"maxmemory_policy:volatile-ttl\r\n", "volatile-ttl", "idempotency keys"),
        (b"maxmemory_policy:noeviction\r\n", "noeviction", None),
        (b"# Memory\r\n", None, None),
    ],
)
def test_the_eviction_policy_is_read_from_info(
    info: bytes, policy: str | None, breaks: str | None
) -> None:
    assert script.info_value(info, "maxmemory_policy") == policy
    risk = script.eviction_risk(policy)
    assert (risk is None) if breaks is None else (breaks in str(risk))


def test_receipts_name_the_event_and_its_cursor_or_those_of_the_first_one() -> None:
    drafts = [Draft(Event(topics=("a",), data="x", id=id)) for id in ("1", "2")]
    epoch = b"0123456789ab"
    reply = [b"kept", epoch, [b"7-0", [b"abcdef012345", b"5-3", b"first"]]]
    new, duplicate = sections.read_receipts(reply, drafts)
    assert (new.id, new.cursor_text, new.duplicate) == ("1", "1.0123456789ab.7-0", False)
    assert new.cursor == Cursor("0123456789ab", make_position(7))
    assert duplicate.duplicate
    assert (duplicate.id, duplicate.cursor) == (
        "first",
        Cursor("abcdef012345", make_position(5, 3)),
    )


@pytest.mark.parametrize("position", [b"", b"7", b"7-x", b"7-0 8-0", b"-", b'"7-0"'])
def test_a_receipt_that_is_no_position_is_not_read(position: bytes) -> None:
    drafts = [Draft(Event(topics=("a",), data="x"))]
    with pytest.raises(ValueError, match="no position"):
        sections.read_receipts([b"kept", b"0123456789ab", [position]], drafts)

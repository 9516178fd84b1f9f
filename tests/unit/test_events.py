"""Events: data that could break the stream makes no event."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import RFC_4122, UUID

import pytest

from notifications.errors import Invalid
from notifications.events import LARGE_BATCH, Event, compact_json, new_ids


def event(**fields: Any) -> Event:
    return Event(**{"topics": ("t",), "data": "x", **fields})


def test_an_event_without_an_id_gets_a_unique_one() -> None:
    assert event().id.startswith("urn:uuid:")
    assert event().id != event().id


@pytest.mark.parametrize("count", [0, 1, LARGE_BATCH - 1, LARGE_BATCH, 500])
def test_many_ids_are_random_uuids_as_one_is(count: int) -> None:
    ids = [*new_ids(count), event().id]
    assert len(set(ids)) == count + 1
    for id in ids:
        uuid = UUID(id.removeprefix("urn:uuid:"))
        assert (uuid.urn, uuid.version, uuid.variant) == (id, 4, RFC_4122)


def test_a_single_topic_need_not_be_a_sequence() -> None:
    assert Event(topics="news", data=1).topics == ("news",)


def test_text_is_encoded_unchanged() -> None:
    text = 'a "quoted" line\r\nand \0 another, ünïcødé'
    assert event(data=text).encoded == text.encode()
    assert event(data=text).is_text


@pytest.mark.parametrize(
    ("data", "encoded"),
    [
        (None, "null"),
        (True, "true"),
        ({"b": 1, "a": [1.5, "é"]}, '{"b":1,"a":[1.5,"é"]}'),
        (dt.date(2026, 11, 22), '"2026-11-22"'),
        (Decimal("1.10"), '"1.10"'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (10**40, "1" + "0" * 40),
        ("", ""),
    ],
)
def test_other_data_is_encoded_as_compact_json(data: Any, encoded: str) -> None:
    assert event(data=data).encoded == encoded.encode()


@pytest.mark.parametrize(
    ("fields", "faulty"),
    [
        ({"topics": ()}, "topic"),
        ({"topics": ("a\nb",)}, "topic"),
        ({"data": float("nan")}, "data"),
        ({"data": object()}, "data"),
        ({"data": {1: object()}}, "data"),
        ({"data": "\ud800"}, "data"),
        ({"data": ["\udfff"]}, "data"),
        ({"data": 10**5000}, "data"),
        ({"type": ""}, "type"),
        ({"type": "a\nb"}, "type"),
        ({"type": "a\rb"}, "type"),
        ({"type": "a\0b"}, "type"),
        ({"type": "stream.reset"}, "type"),
        ({"type": "open"}, "type"),
        ({"type": "error"}, "type"),
        ({"type": "x" * 256}, "type"),
        ({"type": "\ud800"}, "type"),
        ({"id": ""}, "id"),
        ({"id": "a\nb"}, "id"),
        ({"id": "a\0"}, "id"),
        ({"id": "x" * 256}, "id"),
        ({"retry": 0}, "retry"),
        ({"retry": 10**9}, "retry"),
    ],
)
def test_a_value_that_would_break_the_stream_is_refused(
    fields: dict[str, Any], faulty: str
) -> None:
    with pytest.raises(Invalid) as caught:
        event(**fields)
    assert caught.value.extensions["field"] == faulty


def test_recursive_data_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(Invalid, match="JSON"):
        event(data=loop)


@pytest.mark.parametrize("name", ["message", "streams", "stream", "opened", "stream_x", " open"])
def test_types_similar_to_the_reserved_ones_are_allowed(name: str) -> None:
    assert event(type=name).type == name


def test_compact_json_is_one_line_for_any_data() -> None:
    assert "\n" not in compact_json({"a\nb": "c\r\nd\u2028"})


def test_an_acknowledged_event_is_the_same_event_with_the_id_and_cursor_of_the_log() -> None:
    event = Event(topics=("a", "b"), data={"n": 1}, type="x", retry=1000)
    acknowledged = event.acknowledged("first", "1.e.1-0")
    assert acknowledged == replace(event, id="first", cursor="1.e.1-0")
    assert acknowledged.encoded is event.encoded
    assert event.cursor is None

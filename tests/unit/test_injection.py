"""No data becomes part of a stream's structure, checked by a third-party parser."""

import json

import httpx
from httpx_sse import EventSource, ServerSentEvent
from hypothesis import example, given
from hypothesis import strategies as st

from notifications.errors import Invalid
from notifications.events import Event
from notifications.hub import encoders
from notifications.log.cursors import Cursor, make_position
from notifications.log.records import Entry
from notifications.topics import parse_topics

BEFORE, AT, AFTER = (Cursor("0123456789ab", make_position(1_795_360_000_000 + n)) for n in range(3))
FORGED = "\n\nid: forged\nevent: stream.reset\nretry: 0\ndata: {}\n\n"
CONTROL_TEXTS = ("\r", "\n", "\r\n", "\0", "\x0b", "\x85", "\u2028", "\u2029", "\ufeff")
PIECES = st.sampled_from(
    [
        *CONTROL_TEXTS,
        *(":", " ", "data:", "id: 1", "event: x"),
        *(FORGED, FORGED.replace("\n", "\r"), FORGED.replace("\n", "\u2028")),
    ]
)
CHARACTERS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
TEXT = st.lists(PIECES | CHARACTERS, max_size=5).map("".join)


def read(*sent: bytes) -> list[ServerSentEvent]:
    headers = {"Content-Type": "text/event-stream"}
    return list(
        EventSource(httpx.Response(200, headers=headers, content=b"".join(sent))).iter_sse()
    )


def entry_of(event: Event) -> Entry:
    type = event.type.encode() if event.type else None
    topics, id = tuple(event.topics), event.id.encode()
    return Entry(AT.position, topics, id, type, event.encoded, event.is_text, event.retry)


def parsed_between(block: bytes) -> ServerSentEvent:
    """The one event of the block. The events before and after it must stay unchanged."""
    first, middle, last = read(encoders.PLAIN.cursor(BEFORE), block, encoders.PLAIN.cursor(AFTER))
    for signal, cursor in ((first, BEFORE), (last, AFTER)):
        assert (signal.event, signal.data, signal.id) == ("stream.cursor", "{}", str(cursor))
    return middle


@given(topic=TEXT, data=TEXT | st.dictionaries(TEXT, TEXT), type=st.none() | TEXT, id=TEXT)
@example(topic="a", data=FORGED, type=None, id="x")
@example(topic="a", data="\n" + FORGED, type="paid", id="\u2028" + FORGED.replace("\n", "\u2028"))
@example(topic="a", data=":", type="x\u2028data: forged", id="\x85id: forged")
def test_any_data_of_a_publisher_is_exactly_one_event(
    topic: str, data: str | dict[str, str], type: str | None, id: str
) -> None:
    try:
        event = Event(topics=[topic], data=data, type=type, id=id)
    except Invalid:
        return
    plain = parsed_between(encoders.PLAIN.event(AT.epoch, entry_of(event), ()))
    assert plain.id == str(AT)
    assert plain.event == (type or "message")
    if isinstance(data, str):
        assert plain.data == data.replace("\r\n", "\n").replace("\r", "\n")
    else:
        assert json.loads(plain.data) == data
    enveloped = parsed_between(encoders.ENVELOPED.event(AT.epoch, entry_of(event), {topic}))
    assert (enveloped.id, enveloped.event) == (str(AT), "message")
    envelope = json.loads(enveloped.data)
    assert envelope["data"] == data
    assert (envelope["topics"], envelope["type"], envelope["id"]) == ([topic], type, id)


@given(st.lists(TEXT, min_size=1, max_size=3))
@example(["x\u2028" + FORGED.replace("\n", ""), ":"])
def test_any_topics_of_a_subscriber_are_only_data(names: list[str]) -> None:
    try:
        topics = parse_topics(names)
    except Invalid:
        return
    denied = parsed_between(encoders.PLAIN.denied(AT, topics))
    assert (denied.event, denied.id) == ("stream.denied", str(AT))
    assert json.loads(denied.data)["topics"] == list(topics)


@given(TEXT | st.from_regex(r"1\.[0-9a-z]{8,32}\.[0-9]{1,18}-[0-9]{1,20}"))
@example(str(AT) + "\nevent: x")
@example(str(AT) + "\n")
def test_any_accepted_cursor_is_sent_back_unchanged(text: str) -> None:
    try:
        cursor = Cursor.parse(text)
    except Invalid:
        return
    assert parsed_between(encoders.PLAIN.cursor(cursor)).id == text

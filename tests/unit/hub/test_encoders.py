"""The bytes of events and signals."""

import json

from notifications.hub.encoders import ENVELOPED, PLAIN
from notifications.log.cursors import Cursor, make_position
from notifications.log.entries import ResetReason
from notifications.log.records import Entry
from notifications.sse import Decoder, ServerSentEvent

EPOCH = "0123456789ab"
AT = Cursor(EPOCH, make_position(1_795_360_000_123, 4))


def entry(data: bytes, *, is_text: bool, type: bytes | None = None) -> Entry:
    return Entry(AT.position, ("a", "b"), b"urn:x", type, data, is_text, 1500)


def decoded(block: bytes) -> ServerSentEvent:
    [event] = Decoder().feed(block)
    return event


def test_an_event_carries_the_cursor_and_its_type_only_if_it_has_one() -> None:
    untyped = PLAIN.event(EPOCH, entry(b"a\nb", is_text=True), ())
    assert b"event:" not in untyped
    assert decoded(untyped) == ServerSentEvent(data="a\nb", id=str(AT), retry=1500)
    typed = decoded(PLAIN.event(EPOCH, entry(b"{}", is_text=False, type=b"paid"), ()))
    assert typed.type == "paid"


def test_an_envelope_holds_all_of_an_event_and_names_only_the_topics_asked_for() -> None:
    event = decoded(ENVELOPED.event(EPOCH, entry(b'{"x":1}', is_text=False, type=b"paid"), {"b"}))
    assert event.type == "message"
    assert event.id == str(AT)
    assert json.loads(event.data) == {
        "id": "urn:x",
        "topics": ["b"],
        "type": "paid",
        "time": "2026-11-22T15:06:40.123+00:00",
        "data": {"x": 1},
    }


def test_an_envelope_has_the_traceparent_of_an_event_that_has_one() -> None:
    traced = entry(b"1", is_text=False)
    traced.trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    envelope = json.loads(decoded(ENVELOPED.event(EPOCH, traced, {"a"})).data)
    assert envelope["traceparent"] == traced.trace.decode()
    assert b"traceparent" not in PLAIN.event(EPOCH, traced, ())


def test_an_envelope_keeps_text_to_the_letter() -> None:
    text = 'CR \r CRLF \r\n NUL \0 quotes " and ünïcødé'
    event = decoded(ENVELOPED.event(EPOCH, entry(text.encode(), is_text=True), {"a"}))
    assert json.loads(event.data)["data"] == text


def test_signals_are_typed_events_with_json_and_a_time_to_reconnect() -> None:
    cursor = decoded(PLAIN.cursor(AT))
    assert (cursor.type, cursor.id, cursor.data) == ("stream.cursor", str(AT), "{}")
    reset = decoded(PLAIN.reset(AT, ResetReason.TRIMMED))
    assert (reset.type, reset.id) == ("stream.reset", str(AT))
    assert json.loads(reset.data) == {"reason": "trimmed"}
    closing = PLAIN.closing("starting")
    assert b"id:" not in closing
    assert json.loads(decoded(closing).data) == {"reason": "starting"}
    for signal in (cursor, reset, decoded(closing)):
        assert signal.retry is not None
        assert 2000 <= signal.retry <= 5000


def test_browsers_get_different_times_to_reconnect() -> None:
    assert len({decoded(PLAIN.cursor(AT)).retry for _ in range(50)}) > 10

"""Where a stream starts: which parameter of a request counts, and what it means."""

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from django.http import QueryDict
from django.test import RequestFactory
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from notifications.asgi.start_params import parse_since, requested_start
from notifications.errors import BadRequest
from notifications.hub.subscribers import Start
from notifications.log.cursors import Cursor, make_position

CURSOR = "1.0123456789ab.1700000000000-0"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)


def start_of(query: str, header: str | None = None) -> Start:
    headers = {} if header is None else {"Last-Event-ID": header}
    return requested_start(RequestFactory().get(f"/events/?{query}", headers=headers))


# Which parameter counts


@pytest.mark.parametrize(
    ("header", "query", "cursor"),
    [
        (None, "", None),
        ("", "", None),
        ("header", "lastEventId=a&lastEventID=b&last_event_id=c&since=all", "header"),
        ("", "lastEventId=a&lastEventID=b&last_event_id=c&since=all", "a"),
        (None, "lastEventId=a&lastEventID=b&last_event_id=c&since=all", "a"),
        (None, "since=all&last_event_id=c&lastEventID=b&lastEventId=a", "a"),
        (None, "lastEventId=&lastEventID=b&last_event_id=c&since=all", "b"),
        (None, "lastEventID=b&last_event_id=c&since=all", "b"),
        (None, "lastEventId=&lastEventID=&last_event_id=c&since=all", "c"),
        (None, "last_event_id=c&since=all", "c"),
        (None, "last_event_id=a&last_event_id=c", "c"),
        (None, "lastEventId=a&lastEventId=c", "c"),
        (None, f"since={CURSOR}", CURSOR),
        (None, f"since=all&since={CURSOR}", CURSOR),
        ("not a cursor", f"since={CURSOR}", "not a cursor"),
        ("header", "since=soon", "header"),
        (None, "last_event_id=c&since=soon", "c"),
        (None, "lasteventid=a", None),
        (None, "since=", None),
    ],
)
def test_the_first_parameter_that_is_present_and_not_empty_counts(
    header: str | None, query: str, cursor: str | None
) -> None:
    assert start_of(query, header) == Start(cursor=cursor)


def test_since_counts_if_all_other_parameters_are_empty() -> None:
    assert start_of("lastEventId=&lastEventID=&last_event_id=&since=all", "") == Start(since_ms=0)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255), min_size=1))
@hypothesis_settings(max_examples=150, deadline=None)
def test_a_cursor_is_never_an_error(text: str) -> None:
    assert start_of("", text) == Start(cursor=text)
    assert start_of(f"lastEventId={quote(text)}") == Start(cursor=text)


# What since means


@pytest.mark.parametrize("text", ["all", "earliest"])
def test_all_and_earliest_mean_the_oldest_event(text: str) -> None:
    assert parse_since(text) == Start(since_ms=0)


@pytest.mark.parametrize("count", [1, 20, 999, 1000])
def test_last_counts_the_newest_events(count: int) -> None:
    assert parse_since(f"last:{count}") == Start(last=count)


@pytest.mark.parametrize(
    "text", ["last:", "last:0", "last:1001", "last:-1", "last:1.5", "last:ten"]
)
def test_a_number_of_events_out_of_range_is_refused_with_the_range(text: str) -> None:
    with pytest.raises(BadRequest, match="last:1000"):
        parse_since(text)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("0s", timedelta(0)),
        ("30s", timedelta(seconds=30)),
        ("10m", timedelta(minutes=10)),
        ("2h", timedelta(hours=2)),
        ("7d", timedelta(days=7)),
        ("007d", timedelta(days=7)),
    ],
)
def test_a_duration_counts_back_from_now(text: str, ago: timedelta) -> None:
    before = time.time_ns() // 1_000_000
    since_ms = parse_since(text).since_ms
    after = time.time_ns() // 1_000_000
    assert since_ms is not None
    assert before <= since_ms + ago // timedelta(milliseconds=1) <= after


def test_a_duration_that_leads_before_1970_means_the_oldest_event() -> None:
    assert parse_since("999999999d") == Start(since_ms=0)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T12:00:00Z",
        "2026-11-22T12:00Z",
        "2026-11-22T12:00:00+00:00",
        "2026-11-22T13:00:00+01:00",
        "2026-11-22T13:00:00 01:00",  # a plus that was not escaped
        "2026-11-22T06:30:00-05:30",
        "2026-11-22T12:00:00",  # UTC, where no zone is named
        "2026-11-22 12:00:00",
        "2026-11-22 13:00:00+01:00",
        "20261122T120000Z",
    ],
)
def test_since_accepts_iso_8601_times(text: str) -> None:
    assert parse_since(text) == Start(since_ms=NOON_MS)


@pytest.mark.parametrize("plus", ["+", "%2B", "%20"])
def test_the_plus_of_a_zone_may_be_escaped_or_not(plus: str) -> None:
    assert start_of(f"since=2026-11-22T13:00:00{plus}01:00") == Start(since_ms=NOON_MS)


def test_a_date_means_midnight() -> None:
    assert parse_since("2026-11-22") == Start(since_ms=NOON_MS - 12 * 3_600_000)


def test_a_time_has_milliseconds() -> None:
    assert parse_since("2026-11-22T12:00:00.123Z") == Start(since_ms=NOON_MS + 123)


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "1969-01-01"]
)
def test_a_time_before_1970_means_the_oldest_event(text: str) -> None:
    assert parse_since(text) == Start(since_ms=0)


def test_since_accepts_a_cursor() -> None:
    assert parse_since(CURSOR) == Start(cursor=CURSOR)


@pytest.mark.parametrize(
    "text",
    [
        "soon",
        "ALL",
        " all",
        "m",
        "10",
        "10 m",
        "-10m",
        "1.5h",
        "10w",
        "1234567890s",
        "١m",
        "10m\n",
        "T",
        "2026-13-01",
        "2026-11-22T25:00:00Z",
        "2026-11-22T12:00:00+99:00",
        "22.11.2026",
        "1.0123456789ab",
        "2.0123456789ab.1700000000000-0",
        f"{CURSOR} ",
        "\0",
        "\ud800",
    ],
)
def test_an_invalid_since_is_a_bad_request_that_names_the_valid_forms(text: str) -> None:
    with pytest.raises(BadRequest, match="is not a cursor, an ISO 8601 time, a duration"):
        parse_since(text)


@given(st.datetimes(timezones=st.timezones() | st.none()))
@hypothesis_settings(max_examples=150, deadline=None)
def test_any_time_is_parsed(moment: datetime) -> None:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since_ms = parse_since(moment.isoformat()).since_ms
    assert since_ms is not None
    # A zone's offset may have seconds, which ISO 8601 leaves out and Python does not.
    assert abs(since_ms - max(0, aware.timestamp() * 1000)) <= 1


@given(
    st.from_regex(r"[0-9a-z]{8,32}", fullmatch=True),
    st.integers(0, 10**15),
    st.integers(0, 2**64 - 1),
)
@hypothesis_settings(max_examples=150, deadline=None)
def test_any_cursor_is_parsed(epoch: str, ms: int, n: int) -> None:
    text = str(Cursor(epoch, make_position(ms, n)))
    assert parse_since(text) == Start(cursor=text)


PIECES = st.sampled_from(
    ["1.", ".", "-", ":", "T", "Z", "+", " ", "0", "9", "2026", "11", "22", "m", "all", "abcdefgh"]
)


@given(st.text() | st.lists(PIECES).map("".join))
@hypothesis_settings(max_examples=300, deadline=None)
def test_any_text_is_parsed_or_a_bad_request(text: str) -> None:
    try:
        start = parse_since(text)
    except BadRequest:
        return
    assert (start.cursor is None) != (start.since_ms is None)
    assert start.since_ms is None or start.since_ms >= 0


@given(st.binary(max_size=40))
@hypothesis_settings(max_examples=150, deadline=None)
def test_any_query_is_parsed_or_a_bad_request(value: bytes) -> None:
    query = f"since={quote(value, safe='+')}"
    with suppress(BadRequest):
        assert (start_of(query) == Start()) == (QueryDict(query)["since"] == "")

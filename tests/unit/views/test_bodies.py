"""The body of a publish request: each content type, and each fault with its location."""

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpRequest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import from_json
from pytest_django import Settings as DjangoSettings

from notifications.errors import BadRequest, CarillonError, Invalid, TooLarge, UnsupportedMediaType
from notifications.events import Event
from notifications.views import bodies
from notifications.views.bodies import PublishRequest, parse_publish_request
from tests.harness.django_client import FORM, JSON, NDJSON

MULTIPART = 'multipart/form-data; boundary="b"'


def request_of(body: bytes, content_type: str = JSON) -> HttpRequest:
    return RequestFactory().post("/publish/", body, content_type=content_type)


def read(body: Any, content_type: str = JSON) -> PublishRequest:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_publish_request(request_of(content, content_type))


def faults(body: Any, content_type: str = JSON) -> list[tuple[int, str | None, str]]:
    """The index, field and reason of each fault."""
    with pytest.raises(Invalid) as caught:
        read(body, content_type)
    errors = caught.value.extensions["errors"]
    return [(error["index"], error["field"], error["reason"]) for error in errors]


# One event


def test_an_object_is_an_event() -> None:
    request = read(
        {"topic": "a", "data": {"n": 1}, "type": "note", "id": "x", "retry": 3000},
    )
    (publication,) = request.publications
    event = publication.event
    assert (event.topics, event.data, event.type, event.id, event.retry) == (
        ("a",),
        {"n": 1},
        "note",
        "x",
        3000,
    )
    assert publication.named
    assert publication.idempotency_key is None
    assert not request.is_batch


def test_an_event_without_an_id_is_not_named_by_its_publisher() -> None:
    (publication,) = read({"topic": "a", "data": 1}).publications
    assert not publication.named
    assert publication.event.id.startswith("urn:uuid:")


@pytest.mark.parametrize(
    ("topic", "topics"),
    [("a", ("a",)), (["a"], ("a",)), (["b", "a", "b"], ("b", "a")), (["a", "a"], ("a",))],
)
def test_topics_are_one_or_several_without_repetition(topic: Any, topics: tuple[str, ...]) -> None:
    assert read({"topic": topic, "data": 1}).publications[0].event.topics == topics


@pytest.mark.parametrize(
    "data",
    [
        "",
        "text",
        "a\r\nb\0c",
        "ünïcødé \N{BELL}",
        None,
        True,
        0,
        -1.5,
        10**30,
        [],
        {},
        {"data": [{"": None}]},
        {"\0": "\r"},
    ],
)
def test_data_may_be_anything(data: Any) -> None:
    assert read({"topic": "a", "data": data}).publications[0].event.data == data


@pytest.mark.parametrize("name", ["type", "id"])
@pytest.mark.parametrize("value", ["", None])
def test_an_empty_type_or_id_counts_as_absent(name: str, value: str | None) -> None:
    publication = read({"topic": "a", "data": 1, name: value}).publications[0]
    assert publication.event.type is None
    assert not publication.named


@pytest.mark.parametrize(
    ("event", "field", "expected"),
    [
        ({"data": 1}, "topic", "required"),
        ({"topic": "a"}, "data", "required"),
        ({"topic": 7, "data": 1}, "topic", "list"),
        ({"topic": None, "data": 1}, "topic", "list"),
        ({"topic": {"a": 1}, "data": 1}, "topic", "list"),
        ({"topic": [7], "data": 1}, "topic", "string"),
        ({"topic": "", "data": 1}, "topic", "cannot be empty"),
        ({"topic": [], "data": 1}, "topic", "At least one topic"),
        ({"topic": ["a", ""], "data": 1}, "topic", "cannot be empty"),
        ({"topic": "a\nb", "data": 1}, "topic", "control character"),
        ({"topic": "a" * 256, "data": 1}, "topic", "at most 255 bytes"),
        ({"topic": [f"t{i}" for i in range(101)], "data": 1}, "topic", "At most 100"),
        ({"topic": "a", "data": 1, "type": "stream.cursor"}, "type", "service's own"),
        ({"topic": "a", "data": 1, "type": "stream."}, "type", "service's own"),
        ({"topic": "a", "data": 1, "type": "open"}, "type", "Browsers"),
        ({"topic": "a", "data": 1, "type": "error"}, "type", "Browsers"),
        ({"topic": "a", "data": 1, "type": "a\nb"}, "type", "line break"),
        ({"topic": "a", "data": 1, "type": "a\rb"}, "type", "line break"),
        ({"topic": "a", "data": 1, "type": "a\0b"}, "type", "NUL"),
        ({"topic": "a", "data": 1, "type": "a" * 256}, "type", "at most 255 bytes"),
        ({"topic": "a", "data": 1, "type": 7}, "type", "string"),
        ({"topic": "a", "data": 1, "id": "a\nb"}, "id", "line break"),
        ({"topic": "a", "data": 1, "id": "a\rb"}, "id", "line break"),
        ({"topic": "a", "data": 1, "id": "a\0b"}, "id", "NUL"),
        ({"topic": "a", "data": 1, "id": "a" * 256}, "id", "at most 255 bytes"),
        ({"topic": "a", "data": 1, "id": 7}, "id", "string"),
        ({"topic": "a", "data": 1, "retry": 499}, "retry", "milliseconds"),
        ({"topic": "a", "data": 1, "retry": 86_400_001}, "retry", "milliseconds"),
        ({"topic": "a", "data": 1, "retry": "soon"}, "retry", "integer"),
        ({"topic": "a", "data": 1, "retry": 10**30}, "retry", ""),
        ({"topic": "a", "data": 1, "idempotency_key": ""}, "idempotency_key", "1 to 255"),
        ({"topic": "a", "data": 1, "idempotency_key": "k" * 256}, "idempotency_key", "1 to 255"),
        ({"topic": "a", "data": 1, "idempotency_key": 7}, "idempotency_key", "string"),
        ({"topic": "a", "data": 1, "channel": "b"}, "channel", "topic, data, type, id, retry"),
        ({"topic": "a", "data": 1, "Type": "b"}, "Type", "no such field"),
        ({"topic": "a", "data": 1, "": "b"}, "", "no such field"),
    ],
)
def test_a_fault_is_reported_with_its_field_and_reason(
    event: dict[str, Any], field: str, expected: str
) -> None:
    ((index, at, reason),) = faults(event)
    assert (index, at) == (0, field)
    assert expected in reason


def test_every_fault_of_an_event_is_reported() -> None:
    fields = faults({"data": 1, "retry": "soon", "channel": "b"})
    assert {field for _, field, _ in fields} == {"topic", "retry", "channel"}


@pytest.mark.parametrize("body", ["text", 7, None, True])
def test_an_event_that_is_no_object_is_a_fault(body: Any) -> None:
    assert faults(body) == [(0, None, "An event is a JSON object.")]


# Without pydantic

VALUES = st.recursive(
    st.sampled_from([None, True, 0, 500, 1.0, "500", "", "a", "é\n"]) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=3,
)
CONTENTS = VALUES | st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ["topic", "data", "type", "id", "retry", "idempotency_key", "channel"],
        st.text(max_size=3) | st.none() | st.integers(400, 600) | VALUES,
    ),
)


@given(CONTENTS)
@hypothesis_settings(max_examples=500)
def test_what_needs_no_conversion_is_read_as_pydantic_reads_it(content: Any) -> None:
    content = from_json(json.dumps(content).encode())
    plain = bodies._plain_fields(content)
    try:
        converted = bodies._converted_fields(content)
    except ValidationError:
        assert plain is None
    else:
        assert plain is None or repr(plain) == repr(converted)


@pytest.mark.parametrize("count", [1, 20])
def test_an_event_of_a_batch_is_the_event_that_its_constructor_makes(count: int) -> None:
    fields = {"data": {"n": [1, "é"]}, "type": "note", "retry": 3000}
    publications = read([{"topic": ["a", "b"], **fields}] * count).publications
    assert len({publication.event.id for publication in publications}) == count
    for event in (publication.event for publication in publications):
        expected = Event(topics=("a", "b"), id=event.id, **fields)  # type: ignore[arg-type]
        assert (event, event.encoded) == (expected, expected.encoded)


# JSON


@pytest.mark.parametrize(
    "body",
    [
        b" ",
        b"{",
        b'{"topic": "a", "data": 1',
        b'{"topic": "a", "data": 1} x',
        b'{"topic": "a", "data": NaN}',
        b'{"topic": "a", "data": Infinity}',
        b'{"topic": "a", "data": "\xff"}',
        b'{"topic": "a", "data": "\\ud800"}',
        b"{'topic': 'a', 'data': 1}",
        b'{"topic": "a", "data": "a\nb"}',
        b"\xef\xbb\xbf" + b'{"topic": "a", "data": 1}',
        b'{"topic": "a", "data": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"topic": "a", "data": ' + b"[" * 1_000_000,
    ],
)
def test_invalid_json_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest, match="not JSON"):
        read(body)


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9" * 5_000, b"1" * 100_000])
def test_a_number_that_no_browser_could_read_is_refused(number: bytes) -> None:
    with pytest.raises((BadRequest, Invalid)):
        read(b'{"topic": "a", "data": ' + number + b"}")


def test_the_last_of_repeated_names_counts() -> None:
    request = read(b'{"topic": "a", "topic": "b", "data": 1, "data": 2}')
    event = request.publications[0].event
    assert (event.topics, event.data) == (("b",), 2)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_the_content_type_may_have_parameters_and_capitals(content_type: str) -> None:
    assert read({"topic": "a", "data": "é"}, content_type).publications[0].event.data == "é"


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "text/json", "", "json"])
def test_any_other_content_type_is_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="application/json"):
        read({"topic": "a", "data": 1}, content_type)


# Batches


def test_an_array_is_a_batch_in_order() -> None:
    request = read([{"topic": "a", "data": n} for n in range(3)])
    assert [publication.event.data for publication in request.publications] == [0, 1, 2]
    assert request.is_batch


def test_an_array_of_one_is_a_batch() -> None:
    assert read([{"topic": "a", "data": 1}]).is_batch


@pytest.mark.parametrize(
    "content_type", ["application/x-ndjson", "application/ndjson", "application/jsonl"]
)
def test_lines_are_a_batch(content_type: str) -> None:
    body = b'{"topic":"a","data":1}\r\n\n  \n{"topic":"a","data":2}'
    request = read(body, content_type)
    assert [publication.event.data for publication in request.publications] == [1, 2]
    assert request.is_batch


def test_an_invalid_line_is_reported_by_its_number() -> None:
    with pytest.raises(BadRequest, match=r"^Line 3: "):
        read(b'{"topic":"a","data":1}\n\n{"topic":', NDJSON)


@pytest.mark.parametrize(("body", "content_type"), [(b"[]", JSON), (b"\n\n", NDJSON)])
def test_an_empty_batch_is_invalid(body: bytes, content_type: str) -> None:
    with pytest.raises(Invalid, match="no event"):
        read(body, content_type)


def test_each_fault_of_a_batch_is_reported_by_its_index() -> None:
    good = {"topic": "a", "data": 1}
    reported = faults([good, {"topic": "a"}, good, {**good, "type": "open"}, [good], "x"])
    assert [(index, field) for index, field, _ in reported] == [
        (1, "data"),
        (3, "type"),
        (4, None),
        (5, None),
    ]


def test_the_detail_names_the_first_fault_and_the_number_of_others() -> None:
    with pytest.raises(Invalid) as caught:
        read([{"topic": "a", "data": 1}, {"topic": "a"}, {"data": 1}])
    assert caught.value.detail.startswith("Event 1, data: ")
    assert caught.value.detail.endswith(" (and 1 more) Nothing was kept.")


def test_the_list_of_faults_is_limited() -> None:
    assert len(faults([{}] * 1000)) == 20


# Limits


def set_limits(settings: DjangoSettings, **limits: int) -> None:
    settings.CARILLON = {**settings.CARILLON, **limits}


def test_data_has_a_limit_in_bytes(settings: DjangoSettings) -> None:
    set_limits(settings, MAX_EVENT_BYTES=10)
    assert read({"topic": "a", "data": "é" * 5})
    with pytest.raises(TooLarge, match="at most 10") as caught:
        read({"topic": "a", "data": "é" * 5 + "x"})
    (error,) = caught.value.extensions["errors"]
    assert (error["index"], error["field"]) == (0, "data")


def test_the_default_limit_of_data_is_64_kib() -> None:
    assert read({"topic": "a", "data": "x" * 65536})
    with pytest.raises(TooLarge):
        read({"topic": "a", "data": "x" * 65537})


def test_a_batch_with_only_too_large_events_is_too_large(settings: DjangoSettings) -> None:
    set_limits(settings, MAX_EVENT_BYTES=10)
    large = {"topic": "a", "data": "x" * 11}
    with pytest.raises(TooLarge) as caught:
        read([large, {"topic": "a", "data": 1}, large])
    assert [error["index"] for error in caught.value.extensions["errors"]] == [0, 2]


def test_a_batch_with_other_faults_too_is_invalid(settings: DjangoSettings) -> None:
    set_limits(settings, MAX_EVENT_BYTES=10)
    reported = faults([{"topic": "a", "data": "x" * 11}, {"topic": "a"}])
    assert [(index, field) for index, field, _ in reported] == [(0, "data"), (1, "data")]


@pytest.mark.parametrize("content_type", [JSON, NDJSON])
def test_a_batch_has_a_limit_in_events(settings: DjangoSettings, content_type: str) -> None:
    set_limits(settings, MAX_BATCH_EVENTS=2)
    event = b'{"topic":"a","data":1}'

    def body(count: int) -> bytes:
        lines = [event] * count
        return b"\n".join(lines) if content_type == NDJSON else b"[%b]" % b",".join(lines)

    assert len(read(body(2), content_type).publications) == 2
    with pytest.raises(TooLarge, match="at most 2 events; this one has 3"):
        read(body(3), content_type)


@pytest.mark.parametrize("content_type", [JSON, NDJSON])
def test_a_request_has_a_limit_in_bytes(settings: DjangoSettings, content_type: str) -> None:
    body = b'{"topic":"a","data":1}'
    set_limits(settings, MAX_BATCH_BYTES=len(body))
    assert read(body, content_type)
    with pytest.raises(TooLarge, match=f"at most {len(body)} bytes"):
        read(body + b" ", content_type)


def test_djangos_limit_for_forms_does_not_apply_to_json(
    settings: DjangoSettings,
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert read({"topic": "a", "data": "x" * 100})


# Forms


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"topic=a&topic=b&data=x+y&type=note&id=&retry=", FORM),
        (
            b"--b\r\n"
            + b"\r\n--b\r\n".join(
                b'Content-Disposition: form-data; name="%b"\r\n\r\n%b' % field
                for field in [
                    (b"topic", b"a"),
                    (b"topic", b"b"),
                    (b"data", b"x y"),
                    (b"type", b"note"),
                    (b"id", b""),
                ]
            )
            + b"\r\n--b--\r\n",
            MULTIPART,
        ),
    ],
)
def test_empty_fields_of_a_form_count_as_absent(body: bytes, content_type: str) -> None:
    request = read(body, content_type)
    (publication,) = request.publications
    event = publication.event
    assert (event.topics, event.data, event.type) == (("a", "b"), "x y", "note")
    assert not publication.named
    assert not request.is_batch


def test_empty_data_of_a_form_is_valid() -> None:
    assert read(b"topic=a&data=", FORM).publications[0].event.data == ""


def test_data_of_a_form_is_text_even_if_it_looks_like_json() -> None:
    assert read(b"topic=a&data=%7B%7D", FORM).publications[0].event.data == "{}"


def test_a_retry_of_a_form_is_a_number() -> None:
    assert read(b"topic=a&data=x&retry=3000", FORM).publications[0].event.retry == 3000


def test_djangos_csrf_token_is_no_field_and_does_not_change_the_body() -> None:
    bodies = {
        read(b"topic=a&data=x&csrfmiddlewaretoken=" + token, FORM).body for token in (b"1", b"2")
    }
    assert len(bodies) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"&", "topic"),
        (b"topic=a", "data"),
        (b"topic=&data=x", "topic"),
        (b"topic=a&topic=&data=x", "topic"),
        (b"topic=a&data=x&channel=b", "channel"),
        (b"topic=a&data=x&type=a%0Ab", "type"),
        (b"topic=a&data=x&retry=soon", "retry"),
        (b"topic=%00&data=x", "topic"),
    ],
)
def test_a_form_has_the_same_faults_as_json(body: bytes, field: str) -> None:
    assert field in [at for _, at, _ in faults(body, FORM)]


def test_a_file_is_refused() -> None:
    request = RequestFactory().post(
        "/publish/", {"topic": "a", "data": SimpleUploadedFile("x.txt", b"text")}
    )
    with pytest.raises(Invalid) as caught:
        parse_publish_request(request)
    (error,) = caught.value.extensions["errors"]
    assert error["field"] == "data"
    assert "plain field" in error["reason"]


# Arbitrary bodies

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "topic": st.text(max_size=5) | JSON_VALUES,
        "data": JSON_VALUES,
        "type": st.text(max_size=5) | JSON_VALUES,
        "id": st.text(max_size=5) | JSON_VALUES,
        "retry": st.integers() | JSON_VALUES,
        "idempotency_key": st.text(max_size=5) | JSON_VALUES,
        "other": JSON_VALUES,
    },
)


def status_of(body: bytes, content_type: str) -> int:
    try:
        request = parse_publish_request(request_of(body, content_type))
    except CarillonError as error:
        json.dumps(error.extensions)
        return error.status
    assert request.publications
    return 201


@given(st.lists(EVENTS | JSON_VALUES, max_size=3) | EVENTS | JSON_VALUES)
@hypothesis_settings(max_examples=150, deadline=None)
def test_any_json_is_accepted_or_refused(body: Any) -> None:
    assert status_of(json.dumps(body).encode(), JSON) in {201, 400, 422}


@given(st.binary(max_size=200), st.sampled_from([JSON, NDJSON, FORM, "x"]))
@hypothesis_settings(max_examples=150, deadline=None)
def test_any_bytes_are_accepted_or_refused(body: bytes, content_type: str) -> None:
    assert status_of(body, content_type) in {201, 400, 415, 422}


def test_a_form_that_is_not_utf8_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="UTF-8"):
        read(b"topic=a&data=%ff", FORM)


def test_too_many_fields_are_counted_and_not_listed() -> None:
    [(index, field, reason)] = faults({f"x{i}": i for i in range(1000)})
    assert (index, field) == (0, None)
    assert "1000" in reason

"""The OpenAPI document: its content, and how it is served."""

import json
import re
from typing import Any

from django.test import Client
from openapi_schema_validator import OAS32Validator
from openapi_spec_validator import OpenAPIV32SpecValidator
from pytest_django import Settings as DjangoSettings

from notifications.hub.encoders import PLAIN
from notifications.hub.subscribers import CLOSING_REASONS
from notifications.log.cursors import Cursor, make_position
from notifications.log.entries import ResetReason
from notifications.sse import Decoder
from notifications.topics import MAX_TOPICS, parse_topic
from notifications.views.bodies import EventFields
from notifications.views.openapi import document
from notifications.websocket.protocol import InvalidCommand
from tests.harness.django_client import answer
from tests.harness.servers import ROOT

PATH = "/openapi.json"
CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)]


def test_the_document_is_valid_by_the_schema_of_openapi_3_2() -> None:
    assert [error.message for error in OpenAPIV32SpecValidator(document()).iter_errors()] == []


def test_the_pattern_of_a_topic_allows_what_a_topic_may_have() -> None:
    pattern = re.compile(document()["components"]["schemas"]["Topic"]["pattern"])
    for character in CONTROLS:
        assert not pattern.fullmatch(f"news{character}"), ascii(character)
    for topic in ("news", "news.42", "ünïcode 🎉", "a b"):
        assert pattern.fullmatch(topic), topic
        assert parse_topic(topic) == topic


def test_the_patterns_are_read_alike_by_python_and_javascript() -> None:
    """In JavaScript with the flag `u`, and in RE2, NUL is no `\\0` before a bracket or a digit."""
    event = document()["components"]["schemas"]["Event"]["properties"]
    for name in ("type", "id"):
        pattern = event[name]["anyOf"][0]["pattern"]
        assert "\\0" not in pattern
        for character in ("\r", "\n", "\0"):
            assert not re.fullmatch(pattern, f"a{character}b")


def test_each_type_of_a_problem_is_named_once() -> None:
    types = document()["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
    assert len(types) == len(set(types))
    assert f"urn:carillon:problem:{InvalidCommand.code}" in types  # a code that two errors have


def test_the_reasons_of_a_signal_are_those_that_the_documentation_explains() -> None:
    schemas = document()["components"]["schemas"]
    for name, heading in (("StreamReset", "a reset"), ("StreamClosing", "a closing")):
        content = schemas[name]["properties"]["data"]["contentSchema"]
        text = (ROOT / "docs" / "use.md").read_text().partition(f"The reasons of {heading}:\n\n")[2]
        explained = [
            reason
            for line in text.partition("\n\n")[0].splitlines()
            if line.startswith("- ")
            for reason in re.findall(r"`([a-z_]+)`", line)
        ]
        assert content["properties"]["reason"]["enum"] == sorted(explained)


def stream_item_errors(block: bytes) -> list[str]:
    """What the document says against a block of a stream, and against the JSON in its data."""
    [event] = Decoder().feed(block)
    item = {"event": event.type, "data": event.data, "retry": event.retry}
    if event.id:
        item["id"] = event.id
    components = document()["components"]
    [kind] = [
        name
        for name in ("StreamCursor", "StreamReset", "StreamDenied", "StreamClosing")
        if components["schemas"][name]["properties"]["event"]["const"] == event.type
    ]
    content = components["schemas"][kind]["properties"]["data"]["contentSchema"]
    return [
        error.message
        for schema, value in (
            ({"$ref": "#/components/schemas/StreamItem"}, item),
            ({"$ref": f"#/components/schemas/{kind}"}, item),
            (content, json.loads(event.data)),
        )
        for error in OAS32Validator({**schema, "components": components}).iter_errors(value)
    ]


def test_every_signal_of_a_stream_is_as_documented() -> None:
    at = Cursor("12345678", make_position(5))
    blocks = [PLAIN.cursor(at), PLAIN.denied(at, ["news"])]
    blocks += [PLAIN.reset(at, reason) for reason in ResetReason]
    blocks += [PLAIN.closing(reason) for reason in CLOSING_REASONS]
    for block in blocks:
        assert stream_item_errors(block) == []
    assert stream_item_errors(PLAIN.closing("something else"))


def test_the_document_is_served_with_a_stable_etag() -> None:
    first, second = Client().get(PATH), Client().get(PATH)
    assert first.status_code == 200
    assert first.headers["ETag"] == second.headers["ETag"]
    assert first.headers["Cache-Control"] == "public, max-age=300"
    assert json.loads(first.content)["openapi"].startswith("3.2.")
    again = Client().get(PATH, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]


def test_other_methods_than_get_and_head_are_refused() -> None:
    assert Client().head(PATH).status_code == 200
    assert answer(Client().post(PATH)).is_problem(405, "method-not-allowed")


def test_the_document_names_the_urls_of_this_project() -> None:
    urls = {"/events/", "/publish/", PATH}
    urls |= {f"/health/{check}" for check in ("live", "ready", "publish", "outbox")}
    urls |= {f"/events/history.{format_name}" for format_name in ("csv", "ndjson", "json")}
    urls |= {f"/inbox/{action}" for action in ("", "seen", "read", "unread", "archive")}
    urls |= {f"/inbox/{name}" for name in ("preferences", "push", "push/forget")}
    assert set(document()["paths"]) == urls


def test_urls_that_a_project_does_not_serve_are_left_out(settings: DjangoSettings) -> None:
    settings.ROOT_URLCONF = "notifications.urls"
    assert document()["paths"] == {}
    settings.ROOT_URLCONF = "tests.harness.urls_below"
    assert set(document()["paths"]) == {
        *("/live/events/", "/live/publish/", "/live/events/history.csv"),
        *("/live/events/history.ndjson", "/live/events/history.json"),
        *("/live/inbox/", "/live/inbox/seen", "/live/inbox/read", "/live/inbox/unread"),
        *("/live/inbox/archive", "/live/inbox/preferences"),
        *("/live/inbox/push", "/live/inbox/push/forget"),
    }


def test_the_fields_and_limits_are_those_that_are_enforced(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "MAX_BATCH_EVENTS": 7, "MAX_EVENT_BYTES": 123}
    settings.SESSION_COOKIE_NAME = "shop"
    components = document()["components"]
    event = components["schemas"]["Event"]
    assert set(event["properties"]) == set(EventFields.model_fields)
    assert event["required"] == ["topic", "data"]
    assert event["additionalProperties"] is False
    assert components["schemas"]["Events"]["maxItems"] == 7
    assert "123 bytes" in event["properties"]["data"]["description"]
    assert event["properties"]["topic"]["anyOf"][1]["maxItems"] == MAX_TOPICS
    assert components["securitySchemes"]["session"]["name"] == "shop"
    assert components["securitySchemes"]["csrf"]["name"] == "X-Csrftoken"


def test_every_reference_can_be_resolved() -> None:
    content = document()

    def references(node: Any) -> list[str]:
        if isinstance(node, list):
            return [reference for child in node for reference in references(child)]
        if not isinstance(node, dict):
            return []
        own = [node["$ref"]] if "$ref" in node else []
        return own + [reference for child in node.values() for reference in references(child)]

    all_references = references(content)
    assert all_references
    for reference in all_references:
        target: Any = content
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]

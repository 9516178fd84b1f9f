"""The OpenAPI document: its content, and how it is served."""

import json
from typing import Any

from django.test import Client
from pytest_django import Settings as DjangoSettings

from notifications.topics import MAX_TOPICS
from notifications.views.bodies import EventFields
from notifications.views.openapi import document
from tests.harness.django_client import answer

PATH = "/openapi.json"


def test_the_document_is_served_with_a_stable_etag() -> None:
    first, second = Client().get(PATH), Client().get(PATH)
    assert first.status_code == 200
    assert first.headers["ETag"] == second.headers["ETag"]
    assert first.headers["Cache-Control"] == "public, max-age=300"
    assert json.loads(first.content)["openapi"].startswith("3.1.")
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
    assert set(document()["paths"]) == urls


def test_urls_that_a_project_does_not_serve_are_left_out(settings: DjangoSettings) -> None:
    settings.ROOT_URLCONF = "notifications.urls"
    assert document()["paths"] == {}
    settings.ROOT_URLCONF = "tests.harness.urls_below"
    assert set(document()["paths"]) == {
        *("/live/events/", "/live/publish/", "/live/events/history.csv"),
        *("/live/events/history.ndjson", "/live/events/history.json"),
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

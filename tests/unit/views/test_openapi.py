"""The document of the interface, and how it is served."""

import json
from typing import Any

from django.test import Client
from pytest_django import Settings as DjangoSettings

from notifications.topics import MAX_TOPICS
from notifications.views.bodies import Fields
from notifications.views.openapi import document
from tests.harness.django_client import answer

PATH = "/openapi.json"


def test_it_is_served_with_an_etag_that_stays() -> None:
    first, second = Client().get(PATH), Client().get(PATH)
    assert first.status_code == 200
    assert first.headers["ETag"] == second.headers["ETag"]
    assert first.headers["Cache-Control"] == "public, max-age=300"
    assert json.loads(first.content)["openapi"].startswith("3.1.")
    again = Client().get(PATH, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]


def test_it_is_read_and_nothing_else() -> None:
    assert Client().head(PATH).status_code == 200
    assert answer(Client().post(PATH)).is_problem(405, "method-not-allowed")


def test_it_names_the_urls_of_this_project() -> None:
    urls = {"/events/", "/publish/", PATH}
    urls |= {f"/health/{what}" for what in ("live", "ready", "publish", "outbox")}
    urls |= {f"/events/history.{form}" for form in ("csv", "ndjson", "json")}
    assert set(document()["paths"]) == urls


def test_a_site_that_serves_two_of_them_is_told_of_two(settings: DjangoSettings) -> None:
    settings.ROOT_URLCONF = "notifications.urls"
    assert document()["paths"] == {}
    settings.ROOT_URLCONF = "tests.harness.urls_below"
    assert set(document()["paths"]) == {
        *("/live/events/", "/live/publish/", "/live/events/history.csv"),
        *("/live/events/history.ndjson", "/live/events/history.json"),
    }


def test_every_field_and_every_limit_is_the_one_that_is_enforced(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "MAX_BATCH_EVENTS": 7, "MAX_EVENT_BYTES": 123}
    settings.SESSION_COOKIE_NAME = "shop"
    found = document()["components"]
    event = found["schemas"]["Event"]
    assert set(event["properties"]) == set(Fields.model_fields)
    assert event["required"] == ["topic", "data"]
    assert event["additionalProperties"] is False
    assert found["schemas"]["Events"]["maxItems"] == 7
    assert "123 bytes" in event["properties"]["data"]["description"]
    assert event["properties"]["topic"]["anyOf"][1]["maxItems"] == MAX_TOPICS
    assert found["securitySchemes"]["session"]["name"] == "shop"
    assert found["securitySchemes"]["csrf"]["name"] == "X-Csrftoken"


def test_every_reference_leads_somewhere() -> None:
    whole = document()

    def references(part: Any) -> list[str]:
        if isinstance(part, list):
            return [each for below in part for each in references(below)]
        if not isinstance(part, dict):
            return []
        here = [part["$ref"]] if "$ref" in part else []
        return here + [each for below in part.values() for each in references(below)]

    found = references(whole)
    assert found
    for reference in found:
        place: Any = whole
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]

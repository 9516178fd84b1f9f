"""The origins whose pages may read a stream."""

import pytest
from django.http import HttpResponse
from django.test import AsyncClient, RequestFactory
from pytest_django import Settings as DjangoSettings

from notifications.views.cors import allow_origin

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

APP = "https://app.example.com"
ALLOW = "Access-Control-Allow-Origin"
CREDENTIALS = "Access-Control-Allow-Credentials"


@pytest.fixture(autouse=True)
def app_is_allowed(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "CORS_ALLOWED_ORIGINS": [APP]}


def allowed(origin: str) -> str | None:
    response = HttpResponse()
    allow_origin(RequestFactory().get("/events/", headers={"Origin": origin}), response)
    assert (CREDENTIALS in response.headers) == (ALLOW in response.headers)
    return response.headers.get(ALLOW)


def test_an_origin_on_the_list_may_read_with_credentials() -> None:
    assert allowed(APP) == APP


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.com",
        "https://APP.example.com",
        "null",
        "*",
        "",
        "http://localhost:3000",
        "http://127.0.0.1",
        "http://[::1]:8000",
    ],
)
def test_no_other_origin_may(origin: str) -> None:
    assert allowed(origin) is None


@pytest.mark.parametrize(
    "origin",
    ["http://localhost", "http://localhost:3000", "https://127.0.0.1:8443", "http://[::1]:8000"],
)
def test_in_debug_this_machine_may(settings: DjangoSettings, origin: str) -> None:
    settings.DEBUG = True
    assert allowed(origin) == origin


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost.evil.com",
        "http://127.0.0.1.evil.com",
        "http://evil.com/localhost",
        "http://localhost@evil.com",
        "http://192.168.0.7",
        "http://[::1",
        "null",
        "localhost",
    ],
)
def test_in_debug_no_other_machine_may(settings: DjangoSettings, origin: str) -> None:
    settings.DEBUG = True
    assert allowed(origin) is None


def test_whether_or_not_it_is_allowed_the_answer_varies_by_origin() -> None:
    response = HttpResponse()
    allow_origin(RequestFactory().get("/events/"), response)
    assert response.headers["Vary"] == "Origin"
    assert ALLOW not in response.headers


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("get", "/events/?topic=demo.a", 200),
        ("head", "/events/?topic=demo.a", 200),
        ("get", "/events/?topic=private", 403),
        ("get", "/events/", 400),
        ("post", "/events/", 405),
    ],
)
async def test_streams_and_problems_may_be_read(
    async_client: AsyncClient, method: str, target: str, status: int
) -> None:
    response = await getattr(async_client, method)(target, headers={"Origin": APP})
    assert response.status_code == status
    assert response.headers[ALLOW] == APP
    assert response.headers[CREDENTIALS] == "true"
    assert "Origin" in response.headers["Vary"]


@pytest.mark.parametrize("path", ["/events/", "/events"])
async def test_a_preflight_allows_what_a_client_resumes_with(
    async_client: AsyncClient, path: str
) -> None:
    response = await async_client.options(
        f"{path}?topic=demo.a",
        headers={
            "Origin": APP,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "last-event-id",
        },
    )
    assert response.status_code == 204
    assert response.headers[ALLOW] == APP
    assert response.headers["Access-Control-Allow-Methods"] == "GET"
    headers = response.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert "last-event-id" in headers
    assert int(response.headers["Access-Control-Max-Age"]) > 0


async def test_a_preflight_from_elsewhere_is_not_allowed(async_client: AsyncClient) -> None:
    response = await async_client.options("/events/", headers={"Origin": "https://evil.com"})
    assert ALLOW not in response.headers


async def test_publishing_is_for_no_other_origin(async_client: AsyncClient) -> None:
    response = await async_client.post("/publish/", headers={"Origin": APP})
    assert ALLOW not in response.headers

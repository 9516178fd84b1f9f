"""Every URL of the project refuses a method that it does not have by 405, with those it has."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.harness.django_client import answer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_log", "runtime_ends")]

READ = "GET, HEAD"
STREAMS = "GET, HEAD, OPTIONS"
ALLOWED = {
    "page": READ,
    "health-live": READ,
    "health-ready": READ,
    "health-publish": READ,
    "health-outbox": READ,
    "metrics": READ,
    "openapi": READ,
    "carillon:events": STREAMS,
    "carillon:history-csv": STREAMS,
    "carillon:history-ndjson": STREAMS,
    "carillon:history-json": STREAMS,
    "carillon:publish": "POST",
}


@pytest.mark.parametrize("name", ALLOWED)
@pytest.mark.parametrize("method", ["TRACE", "PUT", "PATCH", "DELETE", "PROPFIND"])
@pytest.mark.parametrize("signed_in", [False, True])
def test_another_method_is_refused_for_being_that_method(
    name: str, method: str, *, signed_in: bool
) -> None:
    client = Client(enforce_csrf_checks=True)
    if signed_in:
        client.force_login(User.objects.create_superuser("ada"))
    response = answer(client.generic(method, reverse(name)))
    assert response.is_problem(405, "method-not-allowed")
    assert response.headers["allow"] == ALLOWED[name]


def test_a_browser_gets_a_page_with_the_reason() -> None:
    response = Client(enforce_csrf_checks=True).post("/", headers={"Accept": "text/html"})
    assert (response.status_code, response.headers["Allow"]) == (405, READ)
    assert "The page is read by a GET." in response.content.decode()

"""The page at `/`: the topic it offers, its form, and its security headers."""

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import Settings

pytestmark = pytest.mark.django_db


def test_a_visitor_is_offered_the_first_public_topic(client: Client) -> None:
    assert 'data-default-topic="demo.hello"' in client.get("/").content.decode()


def test_without_public_topics_a_user_is_offered_their_own_and_others_none(
    client: Client, settings: Settings
) -> None:
    settings.CARILLON = {**settings.CARILLON, "PUBLIC_TOPICS": []}
    assert 'data-default-topic=""' in client.get("/").content.decode()
    user = User.objects.create_user("ada")
    client.force_login(user)
    assert f'data-default-topic="user.{user.pk}"' in client.get("/").content.decode()


def test_a_public_topic_that_is_no_prefix_is_offered_as_it_is(
    client: Client, settings: Settings
) -> None:
    settings.CARILLON = {**settings.CARILLON, "PUBLIC_TOPICS": ["news"]}
    assert 'data-default-topic="news"' in client.get("/").content.decode()


def test_only_a_user_who_may_publish_gets_the_form(client: Client) -> None:
    user = User.objects.create_user("ada")
    client.force_login(user)
    assert "publish-form" not in client.get("/").content.decode()
    user.user_permissions.add(Permission.objects.get(codename="publish_event"))
    assert "publish-form" in client.get("/").content.decode()


def test_no_inline_or_foreign_script_may_run(client: Client) -> None:
    response = client.get("/")
    policy = response["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "no-store" in response["Cache-Control"]
    html = response.content.decode()
    assert "style=" not in html
    assert "onclick=" not in html


@pytest.mark.parametrize("path", ["/", "/nowhere"])
def test_every_page_has_security_headers_without_any_middleware_for_them(
    client: Client, settings: Settings, path: str
) -> None:
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ]
    response = client.get(path, headers={"Accept": "text/html"})
    assert "text/html" in response["Content-Type"]
    assert "frame-ancestors 'none'" in response["Content-Security-Policy"]
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response["X-Frame-Options"] == "DENY"
    assert "no-store" in response["Cache-Control"]


def test_each_visitor_gets_the_links_that_lead_somewhere_for_them(client: Client) -> None:
    def links() -> list[str]:
        page = client.get("/").content.decode()
        return re.findall(r'href="([^"]*)"', page[page.index('<nav aria-label="More"') :])

    assert links() == ["/examples/", "/openapi.json", "/docs/"]
    client.force_login(User.objects.create_user("ada"))
    assert links() == ["/examples/", "/inbox/page/", "/openapi.json", "/docs/"]
    client.force_login(User.objects.create_user("root", is_staff=True))
    assert links() == ["/examples/", "/inbox/page/", "/admin/", "/openapi.json", "/docs/"]

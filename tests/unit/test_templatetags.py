"""The template tag `{% events_url %}`: a signed link for the visitor of a page."""

import html
import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.template import Context, Template, TemplateSyntaxError
from django.test import RequestFactory

from notifications import cursor
from notifications.access.identities.base import Identity, Scope
from notifications.access.identities.signed_links import authenticate_link
from notifications.errors import Invalid

pytestmark = pytest.mark.django_db


def request_of(user: User | AnonymousUser | None) -> HttpRequest:
    request = RequestFactory().get("/", headers={"host": "testserver"})
    if user is not None:
        request.user = user
    return request


def rendered(arguments: str, **context: Any) -> str:
    return Template(f"{{% load carillon %}}{{% events_url {arguments} %}}").render(Context(context))


def identity_of(url: str) -> Identity:
    [link] = parse_qs(urlsplit(url).query)["link"]
    return async_to_sync(authenticate_link)(link)


def test_a_text_is_quoted_for_a_topic() -> None:
    template = Template("{% load carillon %}orders.{{ slug|topic_segment }}")
    assert template.render(Context({"slug": "a.b"})) == "orders.a~2Eb"


def test_a_link_is_bound_to_the_user_who_is_logged_in() -> None:
    ada = User.objects.create_user("ada")
    identity = identity_of(rendered('"orders.42" "news"', request=request_of(ada)))
    assert identity.user == ada
    assert identity.scope == Scope(topics=("orders.42", "news"))


@pytest.mark.parametrize("user", [AnonymousUser(), None])
def test_without_a_user_the_link_is_unbound(user: AnonymousUser | None) -> None:
    assert not identity_of(rendered('"news"', request=request_of(user))).user.is_authenticated


def test_the_binding_can_be_given() -> None:
    ada, eve = User.objects.create_user("ada"), User.objects.create_user("eve")
    request = request_of(ada)
    assert identity_of(rendered('"news" user=other', request=request, other=eve)).user == eve
    assert identity_of(rendered('"news" user=None', request=request)).user.is_anonymous
    assert identity_of(rendered('"news" user=other', other=eve)).user == eve


def test_topics_may_come_from_a_variable_and_from_a_list() -> None:
    context = {"request": request_of(None), "topic": "a", "topics": ["b", "c"]}
    assert identity_of(rendered("topic topics", **context)).scope == Scope(topics=("a", "b", "c"))


def test_the_options_become_the_query() -> None:
    url = rendered('"a" expires_in=60 since="10m" envelope=True', request=request_of(None))
    assert "&since=10m&envelope=1" in url


def test_for_other_origins_the_url_is_absolute() -> None:
    url = rendered('"a" absolute=True', request=request_of(None))
    assert url.startswith("http://testserver/events/?link=")
    assert rendered('"a"', request=request_of(None)).startswith("/events/?link=")


def test_a_url_works_in_a_script_and_in_an_attribute() -> None:
    url = rendered('"a" "b"', request=request_of(User.objects.create_user("ada")))
    assert not set(url) & set("\"'<>\\ ")
    assert "&amp;" not in url, "a script would take it as it is"
    assert html.unescape(url) == url


def test_a_link_begins_at_the_cursor_of_the_page() -> None:
    request = request_of(None)
    url = urlsplit(rendered('"a"', request=request))
    assert parse_qs(url.query)["since"] == [cursor(request)]
    assert "since" not in rendered('"a" since=""', request=request)
    assert "since=10m" in rendered('"a" since="10m"', request=request)


def test_without_a_request_the_user_must_be_given() -> None:
    for arguments in '"a"', '"a" user=None absolute=True':
        with pytest.raises(TemplateSyntaxError, match="needs the request"):
            rendered(arguments)


def test_an_invalid_topic_raises_an_error() -> None:
    with pytest.raises(Invalid):
        rendered("missing", request=request_of(None))


@pytest.mark.parametrize(
    ("library", "attribute", "dialect"),
    [
        ("htmx", "sse-connect", "htmx"),
        ("htmx4", "hx-sse:connect", "htmx"),
        ("turbo", "src", "turbo"),
        ("datastar", "data-init", "datastar"),
    ],
)
def test_a_stream_of_html_connects_at_the_cursor_of_the_page(
    library: str, attribute: str, dialect: str
) -> None:
    arguments = f'"orders.42" as="{library}" since="1.0123456789ab.5-0"'
    template = Template(f"{{% load carillon %}}{{% carillon_stream {arguments} %}}")
    html = template.render(Context({"request": request_of(None)}))
    [value] = re.findall(rf'{attribute}="([^"]*)"', html.partition("<script")[0])
    [url] = re.findall(r"/events/\?[^']*", unescape(value))
    query = parse_qs(urlsplit(url).query)
    assert query["as"] == [dialect]
    assert query["since"] == ["1.0123456789ab.5-0"]
    assert identity_of(url).scope == Scope(topics=("orders.42",))
    assert '<script type="module" src="/static/carillon/html.js"></script>' in html


def test_a_stream_of_html_for_a_view_of_the_site_s_own() -> None:
    arguments = """url="/it's/?a=1" as="datastar" since="now" script=False"""
    template = Template(f"{{% load carillon %}}{{% carillon_stream {arguments} %}}")
    html = template.render(Context({"request": request_of(None)}))
    assert "@get('/it%27s/?a=1&amp;since=now&amp;as=datastar', {" in html
    assert "<script" not in html


@pytest.mark.parametrize("arguments", ['"a"', '"a" as="react"', '"a" as="htmx" ass="htmx"'])
def test_a_stream_of_html_needs_its_library(arguments: str) -> None:
    template = Template(f"{{% load carillon %}}{{% carillon_stream {arguments} %}}")
    with pytest.raises(TemplateSyntaxError, match="one of: htmx, htmx4, turbo, datastar"):
        template.render(Context({"request": request_of(None)}))

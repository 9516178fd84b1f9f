"""The template tag `{% events_url %}`: a signed link for the visitor of a page."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.template import Context, Template, TemplateSyntaxError
from django.test import RequestFactory

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
    assert "&amp;since=10m&amp;envelope=1" in url


def test_for_other_origins_the_url_is_absolute() -> None:
    url = rendered('"a" absolute=True', request=request_of(None))
    assert url.startswith("http://testserver/events/?link=")
    assert rendered('"a"', request=request_of(None)).startswith("/events/?link=")


def test_a_url_without_options_needs_no_escaping_in_a_script() -> None:
    url = rendered('"a" "b"', request=request_of(User.objects.create_user("ada")))
    assert "&" not in url
    assert '"' not in url


def test_without_a_request_the_user_must_be_given() -> None:
    for arguments in '"a"', '"a" user=None absolute=True':
        with pytest.raises(TemplateSyntaxError, match="needs the request"):
            rendered(arguments)


def test_an_invalid_topic_raises_an_error() -> None:
    with pytest.raises(Invalid):
        rendered("missing", request=request_of(None))

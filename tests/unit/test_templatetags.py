"""`{% events_url %}`: a link in a page, for whoever reads it."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.template import Context, Template, TemplateSyntaxError
from django.test import RequestFactory

from notifications.access.identities.base import Identity, Scope
from notifications.access.identities.signed_links import by_link
from notifications.errors import Invalid

pytestmark = pytest.mark.django_db


def request_of(user: User | AnonymousUser | None) -> HttpRequest:
    request = RequestFactory().get("/", headers={"host": "testserver"})
    if user is not None:
        request.user = user
    return request


def rendered(arguments: str, **context: Any) -> str:
    return Template(f"{{% load carillon %}}{{% events_url {arguments} %}}").render(Context(context))


def opened(url: str) -> Identity:
    [link] = parse_qs(urlsplit(url).query)["link"]
    return async_to_sync(by_link)(link)


def test_a_page_has_a_link_of_its_topics_for_whoever_is_logged_in() -> None:
    ada = User.objects.create_user("ada")
    identity = opened(rendered('"orders.42" "news"', request=request_of(ada)))
    assert identity.user == ada
    assert identity.scope == Scope(topics=("orders.42", "news"))


@pytest.mark.parametrize("user", [AnonymousUser(), None])
def test_without_a_user_the_link_is_nobodys(user: AnonymousUser | None) -> None:
    assert not opened(rendered('"news"', request=request_of(user))).user.is_authenticated


def test_the_binding_can_be_said() -> None:
    ada, eve = User.objects.create_user("ada"), User.objects.create_user("eve")
    request = request_of(ada)
    assert opened(rendered('"news" user=other', request=request, other=eve)).user == eve
    assert opened(rendered('"news" user=None', request=request)).user.is_anonymous
    assert opened(rendered('"news" user=other', other=eve)).user == eve


def test_topics_may_be_in_a_variable_and_in_a_list() -> None:
    context = {"request": request_of(None), "topic": "a", "topics": ["b", "c"]}
    assert opened(rendered("topic topics", **context)).scope == Scope(topics=("a", "b", "c"))


def test_the_options_are_those_of_the_query() -> None:
    url = rendered('"a" expires_in=60 since="10m" envelope=True', request=request_of(None))
    assert "&amp;since=10m&amp;envelope=1" in url


def test_for_other_origins_the_url_is_absolute() -> None:
    url = rendered('"a" absolute=True', request=request_of(None))
    assert url.startswith("http://testserver/events/?link=")
    assert rendered('"a"', request=request_of(None)).startswith("/events/?link=")


def test_it_stands_in_a_script_as_it_is() -> None:
    url = rendered('"a" "b"', request=request_of(User.objects.create_user("ada")))
    assert "&" not in url
    assert '"' not in url


def test_without_a_request_nobody_is_guessed() -> None:
    for arguments in '"a"', '"a" user=None absolute=True':
        with pytest.raises(TemplateSyntaxError, match="needs the request"):
            rendered(arguments)


def test_what_is_no_topic_is_told() -> None:
    with pytest.raises(Invalid):
        rendered("missing", request=request_of(None))

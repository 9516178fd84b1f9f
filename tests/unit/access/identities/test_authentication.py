"""Which of its credentials a request is taken by, and what becomes of them in a grant."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.test import RequestFactory
from pytest_django import Settings as DjangoSettings

from notifications.access.authorization import grant_for, publisher
from notifications.access.identities.authentication import identify, lightened, renewed
from notifications.access.identities.base import Kind
from notifications.access.identities.signed_links import events_url
from notifications.errors import Forbidden, Unauthenticated
from tests.harness.servers import PUBLISH_KEY
from tests.harness.tokens import setting, token

ADA = User(pk=42, username="ada")


@pytest.fixture(autouse=True)
def tokens_are_accepted(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "JWT": setting()}


def request_of(
    user: User | AnonymousUser | None = None, path: str = "/events/", **headers: Any
) -> HttpRequest:
    request = RequestFactory().get(path, headers=headers)

    async def auser() -> User | AnonymousUser:
        return user or AnonymousUser()

    request.auser = auser
    return request


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def test_a_header_comes_before_a_link_and_that_before_a_session() -> None:
    link = events_url("news")
    assert (await identify(request_of(ADA))).kind is Kind.SESSION
    assert (await identify(request_of(ADA, link))).kind is Kind.LINK
    assert (await identify(request_of(ADA, link, **bearer(token())))).kind is Kind.TOKEN
    assert (await identify(request_of(ADA, **bearer(PUBLISH_KEY)))).kind is Kind.KEY
    assert (await identify(request_of())).kind is Kind.ANONYMOUS


@pytest.mark.parametrize("path", ["/events/?topic=demo.a", "/events/?topic=demo.a&link=nonsense"])
async def test_credentials_that_are_not_good_are_refused_even_where_none_are_needed(
    path: str,
) -> None:
    headers = {} if "link" in path else bearer("nonsense")
    with pytest.raises(Unauthenticated):
        await grant_for(request_of(ADA, path, **headers), ("demo.a",))


async def test_a_token_in_the_url_is_nothing_unless_it_is_accepted(
    settings: DjangoSettings,
) -> None:
    path = f"/events/?token={token()}"
    assert (await identify(request_of(None, path))).kind is Kind.ANONYMOUS
    settings.CARILLON = {**settings.CARILLON, "QUERY_TOKENS": True}
    assert (await identify(request_of(None, path))).kind is Kind.TOKEN


async def test_a_token_hears_and_says_what_it_allows() -> None:
    request = request_of(None, **bearer(token()))
    grant = await grant_for(request, ("orders.1", "demo.a", "secret"))
    assert grant.topics == ("orders.1", "demo.a")
    assert grant.denied == ("secret",)
    assert grant.subjects == ("token:ada",)
    assert grant.until is not None
    assert (await publisher(request)).kind is Kind.TOKEN


async def test_a_link_hears_its_topics_or_those_of_them_that_are_named() -> None:
    url = events_url("a", "b")
    assert (await grant_for(request_of(None, url), ())).topics == ("a", "b")
    grant = await grant_for(request_of(None, url), ("b", "b.x"))
    assert (grant.topics, grant.denied) == (("b",), ("b.x",))
    with pytest.raises(Forbidden):
        await grant_for(request_of(None, url), ("c",))


async def test_a_link_says_nothing() -> None:
    request = request_of(None, events_url("a"))
    request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
    with pytest.raises(Unauthenticated):
        await publisher(request)


async def test_a_foreign_page_may_use_a_link(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "CORS_ALLOWED_ORIGINS": []}
    request = request_of(None, events_url("a"), Origin="https://elsewhere.example")
    assert (await grant_for(request, ())).topics == ("a",)


@pytest.mark.parametrize("kind", [Kind.TOKEN, Kind.LINK, Kind.KEY, Kind.ANONYMOUS])
async def test_what_an_open_stream_keeps_is_enough_to_ask_again(kind: Kind) -> None:
    requests = {
        Kind.TOKEN: request_of(None, **bearer(token())),
        Kind.LINK: request_of(None, events_url("a")),
        Kind.KEY: request_of(None, **bearer(PUBLISH_KEY)),
        Kind.ANONYMOUS: request_of(),
    }
    identity = await identify(requests[kind])
    again = await renewed(lightened(identity))
    assert again is not None
    assert again.scope == identity.scope


async def test_a_grant_by_a_token_is_renewed_while_that_is_good(settings: DjangoSettings) -> None:
    grant = await grant_for(request_of(None, **bearer(token())), ("orders.1",))
    assert grant.renew is not None
    again = await grant.renew()
    assert again is not None
    assert again.still_covers(grant)
    settings.CARILLON = {**settings.CARILLON, "JWT": setting(AUDIENCE="https://another")}
    assert await grant.renew() is None

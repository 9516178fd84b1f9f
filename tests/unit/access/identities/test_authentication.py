"""Authentication: which credentials of a request count, and the grants that they get."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.test import RequestFactory
from pytest_django import Settings as DjangoSettings

from notifications.access.authorization import authenticate_publisher, authorize_subscribe
from notifications.access.identities.authentication import (
    authenticate,
    reauthenticate,
    without_user,
)
from notifications.access.identities.base import Kind
from notifications.access.identities.signed_links import events_url
from notifications.errors import Forbidden, Unauthenticated
from tests.harness.servers import PUBLISH_KEY
from tests.harness.tokens import jwt_setting, token

ADA = User(pk=42, username="ada")


@pytest.fixture(autouse=True)
def tokens_are_accepted(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "JWT": jwt_setting()}


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


async def test_a_header_counts_before_a_link_and_a_link_before_a_session() -> None:
    link = events_url("news")
    assert (await authenticate(request_of(ADA))).kind is Kind.SESSION
    assert (await authenticate(request_of(ADA, link))).kind is Kind.LINK
    assert (await authenticate(request_of(ADA, link, **bearer(token())))).kind is Kind.TOKEN
    assert (await authenticate(request_of(ADA, **bearer(PUBLISH_KEY)))).kind is Kind.KEY
    assert (await authenticate(request_of())).kind is Kind.ANONYMOUS


@pytest.mark.parametrize("path", ["/events/?topic=demo.a", "/events/?topic=demo.a&link=nonsense"])
async def test_invalid_credentials_are_refused_even_for_public_topics(
    path: str,
) -> None:
    headers = {} if "link" in path else bearer("crl_nonsense")
    with pytest.raises(Unauthenticated):
        await authorize_subscribe(request_of(ADA, path, **headers), ("demo.a",))


async def test_a_token_in_the_url_counts_only_if_the_setting_allows_it(
    settings: DjangoSettings,
) -> None:
    path = f"/events/?token={token()}"
    assert (await authenticate(request_of(None, path))).kind is Kind.ANONYMOUS
    settings.CARILLON = {**settings.CARILLON, "QUERY_TOKENS": True}
    assert (await authenticate(request_of(None, path))).kind is Kind.TOKEN


async def test_a_token_may_subscribe_and_publish_by_its_scope() -> None:
    request = request_of(None, **bearer(token()))
    grant = await authorize_subscribe(request, ("orders.1", "demo.a", "secret"))
    assert grant.topics == ("orders.1", "demo.a")
    assert grant.denied == ("secret",)
    assert grant.subjects == ("token:ada",)
    assert grant.until is not None
    assert (await authenticate_publisher(request)).kind is Kind.TOKEN


async def test_a_link_gets_its_topics_or_the_named_ones_of_them() -> None:
    url = events_url("a", "b")
    assert (await authorize_subscribe(request_of(None, url), ())).topics == ("a", "b")
    grant = await authorize_subscribe(request_of(None, url), ("b", "b.x"))
    assert (grant.topics, grant.denied) == (("b",), ("b.x",))
    with pytest.raises(Forbidden):
        await authorize_subscribe(request_of(None, url), ("c",))


async def test_a_link_may_not_publish() -> None:
    request = request_of(None, events_url("a"))
    request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
    with pytest.raises(Unauthenticated):
        await authenticate_publisher(request)


async def test_a_foreign_page_may_use_a_link(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "CORS_ALLOWED_ORIGINS": []}
    request = request_of(None, events_url("a"), Origin="https://elsewhere.example")
    assert (await authorize_subscribe(request, ())).topics == ("a",)


@pytest.mark.parametrize("kind", [Kind.TOKEN, Kind.LINK, Kind.KEY, Kind.ANONYMOUS])
async def test_an_identity_without_its_user_can_be_reauthenticated(kind: Kind) -> None:
    requests = {
        Kind.TOKEN: request_of(None, **bearer(token())),
        Kind.LINK: request_of(None, events_url("a")),
        Kind.KEY: request_of(None, **bearer(PUBLISH_KEY)),
        Kind.ANONYMOUS: request_of(),
    }
    identity = await authenticate(requests[kind])
    again = await reauthenticate(without_user(identity))
    assert again is not None
    assert again.scope == identity.scope


async def test_a_grant_is_renewed_while_its_token_is_valid(settings: DjangoSettings) -> None:
    grant = await authorize_subscribe(request_of(None, **bearer(token())), ("orders.1",))
    assert grant.renew is not None
    again = await grant.renew()
    assert again is not None
    assert again.still_covers(grant)
    settings.CARILLON = {**settings.CARILLON, "JWT": jwt_setting(AUDIENCE="https://another")}
    assert await grant.renew() is None

"""Authorization of requests that subscribe, and of requests that publish."""

import logging
from collections.abc import Sequence

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.test import RequestFactory
from pytest_django import Settings as DjangoSettings

from notifications.access.authorization import (
    authenticate_publisher,
    authorize_publish,
    authorize_subscribe,
)
from notifications.access.identities.session import ANONYMOUS, authenticate_session
from notifications.errors import BadRequest, Forbidden, Unauthenticated
from tests.harness.servers import PUBLISH_KEY

ANYBODY = AnonymousUser()
ADA = User(pk=42, username="ada")
ROOT = User(pk=1, username="root", is_superuser=True)


@pytest.fixture(autouse=True)
def some_topics_are_public(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "PUBLIC_TOPICS": ["news", "demo."]}


def request_of(user: User | AnonymousUser | None, **headers: str) -> HttpRequest:
    """A request whose session is of this user; with None, of a project without authentication."""
    request = RequestFactory().post("/", headers=headers)
    request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
    if user is not None:

        async def auser() -> User | AnonymousUser:
            return user

        request.auser = auser
    return request


class UnreadableUser:
    """The `auser` of a request whose session must not be read."""

    async def __call__(self) -> User:
        raise AssertionError("the session was read")


async def granted_topics(user: User | AnonymousUser | None, *topics: str) -> Sequence[str]:
    return (await authorize_subscribe(request_of(user), topics)).topics


@pytest.mark.parametrize("topic", ["news", "news.x", "news.", "demo.", "demo.chat"])
@pytest.mark.parametrize("user", [ANYBODY, ADA, None])
async def test_anybody_may_subscribe_to_public_topics(
    user: User | AnonymousUser | None, topic: str
) -> None:
    assert await granted_topics(user, topic) == (topic,)


@pytest.mark.parametrize("topic", ["newsletter", "demo", "News", "user.42", "user", "orders.1"])
@pytest.mark.parametrize("user", [ANYBODY, None])
async def test_anonymous_users_may_subscribe_to_nothing_else(
    user: AnonymousUser | None, topic: str
) -> None:
    with pytest.raises(Forbidden, match=repr(topic)):
        await granted_topics(user, topic)


@pytest.mark.parametrize("topic", ["user.42", "user.42.x", "user.42.x.y"])
async def test_a_user_may_subscribe_to_their_own_topics(topic: str) -> None:
    assert await granted_topics(ADA, topic) == (topic,)


@pytest.mark.parametrize("topic", ["user.4", "user.421", "user.43", "user.", "user", "User.42"])
@pytest.mark.parametrize("user", [ADA, ROOT])
async def test_a_user_may_not_subscribe_to_topics_of_others(user: User, topic: str) -> None:
    with pytest.raises(Forbidden):
        await granted_topics(user, topic)


async def test_a_refused_topic_refuses_none_of_the_others() -> None:
    grant = await authorize_subscribe(request_of(ADA), ("news", "orders.1", "user.42"))
    assert grant.topics == ("news", "user.42")
    assert grant.denied == ("orders.1",)


async def test_an_error_names_the_topics_if_all_are_refused() -> None:
    with pytest.raises(Forbidden, match=r"to 'a', 'b', 'c' and 2 more\."):
        await granted_topics(ADA, "a", "b", "c", "d", "e")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://testserver", True),
        ("https://app.example.com", True),
        ("https://evil.example.com", False),
        ("null", False),
        ("https://[", False),
    ],
)
async def test_a_session_counts_only_on_pages_of_allowed_origins(
    settings: DjangoSettings, origin: str, *, allowed: bool
) -> None:
    settings.CARILLON = {**settings.CARILLON, "CORS_ALLOWED_ORIGINS": ["https://app.example.com"]}
    request = request_of(ADA, Origin=origin)
    if allowed:
        assert (await authorize_subscribe(request, ("user.42",))).topics == ("user.42",)
    else:
        with pytest.raises(Forbidden, match="origin"):
            await authorize_subscribe(request, ("user.42",))
    assert (await authorize_subscribe(request, ("news",))).topics == ("news",)


async def test_one_request_may_name_public_and_own_topics() -> None:
    assert await granted_topics(ADA, "news", "user.42") == ("news", "user.42")


async def test_without_a_topic_a_user_gets_their_own() -> None:
    assert await granted_topics(ADA) == ("user.42",)


@pytest.mark.parametrize("user", [ANYBODY, None])
async def test_without_a_topic_an_anonymous_user_gets_an_error_that_shows_how_to_name_one(
    user: AnonymousUser | None,
) -> None:
    with pytest.raises(BadRequest, match=r"\?topic="):
        await granted_topics(user)


async def test_for_public_topics_the_session_is_not_read() -> None:
    request = request_of(None)
    request.auser = UnreadableUser()
    grant = await authorize_subscribe(request, ("news",))
    assert grant.topics == ("news",)
    assert grant.renew is None


async def test_in_debug_the_log_names_the_topic_and_the_setting(
    settings: DjangoSettings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DEBUG = True
    with caplog.at_level(logging.WARNING, "carillon"), pytest.raises(Forbidden):
        await granted_topics(ANYBODY, "orders.1")
    assert "'orders.1'" in caplog.text
    assert "CARILLON['PUBLIC_TOPICS']" in caplog.text


async def test_in_production_only_the_audit_logs_a_refusal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(Forbidden):
        await granted_topics(ANYBODY, "orders.1")
    assert {record.name for record in caplog.records} == {"carillon.audit"}


async def test_without_authentication_everybody_is_anonymous() -> None:
    assert await authenticate_session(request_of(None)) is ANONYMOUS


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_known_key_publishes(scheme: str) -> None:
    identity = await authenticate_publisher(
        request_of(ANYBODY, Authorization=f"{scheme} {PUBLISH_KEY}")
    )
    assert identity.name.startswith("key:")
    assert PUBLISH_KEY not in repr(identity)


async def test_each_key_has_its_own_identity(settings: DjangoSettings) -> None:
    keys = [PUBLISH_KEY, "another-key-for-the-tests"]
    settings.CARILLON = {**settings.CARILLON, "PUBLISH_KEYS": keys}
    identities = [
        await authenticate_publisher(request_of(None, Authorization=f"Bearer {key}"))
        for key in keys
    ]
    assert identities[0].name != identities[1].name


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        "Bearer ",
        "Bearer wrong-but-long-enough",
        f"Bearer {PUBLISH_KEY}x",
        f"Bearer {PUBLISH_KEY[:-1]}",
        f"Bearer {PUBLISH_KEY.upper()}",
        "Bearer \xfe\xff\x80",
        "Bearer \N{SNOWMAN}",
    ],
)
async def test_what_may_be_somebody_else_s_is_passed_over_and_refused_alone(
    authorization: str,
) -> None:
    assert (await authenticate_publisher(request_of(ROOT, Authorization=authorization))).user
    with pytest.raises(Unauthenticated, match="none of ours") as refused:
        await authenticate_publisher(request_of(ANYBODY, Authorization=authorization))
    assert "Authorization: Bearer <key or token>" in refused.value.detail


@pytest.mark.parametrize("authorization", [f"Basic {PUBLISH_KEY}", PUBLISH_KEY])
async def test_a_key_of_ours_without_its_scheme_is_refused_even_with_a_session(
    authorization: str,
) -> None:
    with pytest.raises(Unauthenticated, match="'Bearer'"):
        await authenticate_publisher(request_of(ROOT, Authorization=authorization))


async def test_without_configured_keys_every_key_is_refused(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "PUBLISH_KEYS": []}
    with pytest.raises(Unauthenticated):
        await authenticate_publisher(request_of(None, Authorization=f"Bearer {PUBLISH_KEY}"))


@pytest.mark.parametrize("user", [ANYBODY, None])
async def test_an_anonymous_user_may_not_publish(user: AnonymousUser | None) -> None:
    with pytest.raises(Unauthenticated, match="Bearer <key>"):
        await authenticate_publisher(request_of(user))


async def test_a_user_with_the_permission_publishes_under_their_own_name() -> None:
    identity = await authenticate_publisher(request_of(ROOT))
    assert identity.name == "user:1"
    await authorize_publish(identity, ["anything", "at.all"])


async def test_a_deactivated_user_may_not_publish() -> None:
    identity = await authenticate_publisher(
        request_of(User(pk=1, is_superuser=True, is_active=False))
    )
    with pytest.raises(Forbidden, match="'anything'"):
        await authorize_publish(identity, ["anything"])


async def test_a_session_without_a_csrf_token_may_not_publish() -> None:
    request = request_of(ROOT)
    request._dont_enforce_csrf_checks = False  # type: ignore[attr-defined]
    with pytest.raises(Forbidden, match="CSRF"):
        await authenticate_publisher(request)

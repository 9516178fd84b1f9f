"""Who may subscribe to what, and who may publish."""

import logging
from collections.abc import Sequence

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.test import RequestFactory
from pytest_django import Settings as DjangoSettings

from notifications.access.authorization import check_publishing, grant_for, publisher
from notifications.access.identities.session import ANONYMOUS, by_session
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


class Unreadable:
    """A session nobody should have asked for."""

    async def __call__(self) -> User:
        raise AssertionError("the session was read")


async def may_hear(user: User | AnonymousUser | None, *asked: str) -> Sequence[str]:
    return (await grant_for(request_of(user), asked)).topics


@pytest.mark.parametrize("topic", ["news", "news.x", "news.", "demo.", "demo.chat"])
@pytest.mark.parametrize("user", [ANYBODY, ADA, None])
async def test_anybody_hears_what_is_public(user: User | AnonymousUser | None, topic: str) -> None:
    assert await may_hear(user, topic) == (topic,)


@pytest.mark.parametrize("topic", ["newsletter", "demo", "News", "user.42", "user", "orders.1"])
@pytest.mark.parametrize("user", [ANYBODY, None])
async def test_strangers_hear_nothing_else(user: AnonymousUser | None, topic: str) -> None:
    with pytest.raises(Forbidden, match=repr(topic)):
        await may_hear(user, topic)


@pytest.mark.parametrize("topic", ["user.42", "user.42.x", "user.42.x.y"])
async def test_a_user_hears_what_is_their_own(topic: str) -> None:
    assert await may_hear(ADA, topic) == (topic,)


@pytest.mark.parametrize("topic", ["user.4", "user.421", "user.43", "user.", "user", "User.42"])
@pytest.mark.parametrize("user", [ADA, ROOT])
async def test_a_user_hears_nothing_of_others(user: User, topic: str) -> None:
    with pytest.raises(Forbidden):
        await may_hear(user, topic)


async def test_one_topic_that_is_refused_refuses_none_of_the_others() -> None:
    grant = await grant_for(request_of(ADA), ("news", "orders.1", "user.42"))
    assert grant.topics == ("news", "user.42")
    assert grant.denied == ("orders.1",)


async def test_topics_that_are_all_refused_are_named() -> None:
    with pytest.raises(Forbidden, match=r"to 'a', 'b', 'c' and 2 more\."):
        await may_hear(ADA, "a", "b", "c", "d", "e")


@pytest.mark.parametrize(
    ("origin", "heard"),
    [
        ("https://testserver", True),
        ("https://app.example.com", True),
        ("https://evil.example.com", False),
        ("null", False),
        ("https://[", False),
    ],
)
async def test_a_session_is_not_for_pages_of_any_origin(
    settings: DjangoSettings, origin: str, *, heard: bool
) -> None:
    settings.CARILLON = {**settings.CARILLON, "CORS_ALLOWED_ORIGINS": ["https://app.example.com"]}
    request = request_of(ADA, Origin=origin)
    if heard:
        assert (await grant_for(request, ("user.42",))).topics == ("user.42",)
    else:
        with pytest.raises(Forbidden, match="origin"):
            await grant_for(request, ("user.42",))
    assert (await grant_for(request, ("news",))).topics == ("news",)


async def test_public_and_own_topics_go_together() -> None:
    assert await may_hear(ADA, "news", "user.42") == ("news", "user.42")


async def test_without_a_topic_a_user_hears_their_own() -> None:
    assert await may_hear(ADA) == ("user.42",)


@pytest.mark.parametrize("user", [ANYBODY, None])
async def test_without_a_topic_a_stranger_is_told_how_to_name_one(
    user: AnonymousUser | None,
) -> None:
    with pytest.raises(BadRequest, match=r"\?topic="):
        await may_hear(user)


async def test_for_public_topics_the_session_is_not_read() -> None:
    request = request_of(None)
    request.auser = Unreadable()
    grant = await grant_for(request, ("news",))
    assert grant.topics == ("news",)
    assert grant.renew is None


async def test_in_debug_the_log_names_the_topic_and_the_cure(
    settings: DjangoSettings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DEBUG = True
    with caplog.at_level(logging.WARNING, "carillon"), pytest.raises(Forbidden):
        await may_hear(ANYBODY, "orders.1")
    assert "'orders.1'" in caplog.text
    assert "CARILLON['PUBLIC_TOPICS']" in caplog.text


async def test_in_production_a_refusal_is_for_the_audit_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(Forbidden):
        await may_hear(ANYBODY, "orders.1")
    assert {record.name for record in caplog.records} == {"carillon.audit"}


async def test_without_authentication_everybody_is_a_stranger() -> None:
    assert await by_session(request_of(None)) is ANONYMOUS


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_key_that_is_known_publishes(scheme: str) -> None:
    who = await publisher(request_of(ANYBODY, Authorization=f"{scheme} {PUBLISH_KEY}"))
    assert who.name.startswith("key:")
    assert PUBLISH_KEY not in repr(who)


async def test_each_key_is_a_publisher_of_its_own(settings: DjangoSettings) -> None:
    keys = [PUBLISH_KEY, "another-key-for-the-tests"]
    settings.CARILLON = {**settings.CARILLON, "PUBLISH_KEYS": keys}
    who = [await publisher(request_of(None, Authorization=f"Bearer {key}")) for key in keys]
    assert who[0].name != who[1].name


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        "Bearer ",
        "Bearer wrong-but-long-enough",
        f"Bearer {PUBLISH_KEY}x",
        f"Bearer {PUBLISH_KEY[:-1]}",
        f"Bearer {PUBLISH_KEY.upper()}",
        f"Basic {PUBLISH_KEY}",
        PUBLISH_KEY,
        "Bearer \xfe\xff\x80",
        "Bearer \N{SNOWMAN}",
    ],
)
async def test_any_other_authorization_is_refused_whoever_is_logged_in(authorization: str) -> None:
    with pytest.raises(Unauthenticated):
        await publisher(request_of(ROOT, Authorization=authorization))


async def test_without_keys_no_key_is_right(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "PUBLISH_KEYS": []}
    with pytest.raises(Unauthenticated):
        await publisher(request_of(None, Authorization=f"Bearer {PUBLISH_KEY}"))


@pytest.mark.parametrize("user", [ANYBODY, None])
async def test_a_stranger_does_not_publish(user: AnonymousUser | None) -> None:
    with pytest.raises(Unauthenticated, match="Bearer <key>"):
        await publisher(request_of(user))


async def test_a_user_with_the_permission_publishes_in_their_own_name() -> None:
    who = await publisher(request_of(ROOT))
    assert who.name == "user:1"
    await check_publishing(who, ["anything", "at.all"])


async def test_a_user_who_was_deactivated_does_not_publish() -> None:
    who = await publisher(request_of(User(pk=1, is_superuser=True, is_active=False)))
    with pytest.raises(Forbidden, match="'anything'"):
        await check_publishing(who, ["anything"])


async def test_a_session_without_a_csrf_token_does_not_publish() -> None:
    request = request_of(ROOT)
    request._dont_enforce_csrf_checks = False  # type: ignore[attr-defined]
    with pytest.raises(Forbidden, match="CSRF"):
        await publisher(request)

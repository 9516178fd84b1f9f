"""The digest of a page's user: it names one user of this site, and no stream opens as another's."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.template import Context, Template
from django.test import AsyncClient, RequestFactory
from pytest_django import Settings as DjangoSettings

from notifications.access.identities.page_user import page_user
from notifications.sse import Decoder
from tests.harness.django_client import reading

NOBODY = page_user(None)

pytestmark = [
    pytest.mark.usefixtures("own_log", "runtime_ends"),
    pytest.mark.django_db(transaction=True),
]


def rendered_url(user: User | AnonymousUser) -> str:
    request = RequestFactory().get("/")
    request.user = user
    template = Template("{% load carillon %}{% events_url %}")
    return template.render(Context({"request": request}))


def test_the_tag_without_topics_names_the_user_and_grants_nothing() -> None:
    ada, eve = User.objects.create_user("ada"), User.objects.create_user("eve")
    queries = [parse_qs(urlsplit(rendered_url(user)).query) for user in (ada, eve, AnonymousUser())]
    assert [set(query) for query in queries] == [{"user", "since"}] * 3
    assert [query["user"] for query in queries] == [[page_user(ada)], [page_user(eve)], [NOBODY]]
    assert len({page_user(ada), page_user(eve), NOBODY}) == 3
    assert page_user(AnonymousUser()) == NOBODY


async def first_block(client: AsyncClient, user: str, topic: str, **more: str) -> dict[str, str]:
    response = await client.get("/events/", {"topic": topic, "user": user, **more})
    if response.streaming:
        async with reading(response) as stream:
            block = await stream.next()
    else:
        [block] = Decoder().feed(response.content)
    return {"type": block.type, **json.loads(block.data)}


async def test_the_opening_repeats_the_digest_and_a_changed_user_gets_nothing(
    async_client: AsyncClient,
) -> None:
    ada = await User.objects.acreate_user("ada")
    eve = await User.objects.acreate_user("eve")
    mine, theirs = page_user(ada), page_user(eve)
    await async_client.aforce_login(ada)
    topic = f"user.{ada.pk}"
    assert await first_block(async_client, mine, topic) == {"type": "stream.cursor", "user": mine}
    reset = await first_block(async_client, mine, topic, since="none")
    assert reset == {"type": "stream.reset", "reason": "unknown", "user": mine}
    changed = {"type": "stream.closing", "reason": "user_changed"}
    assert await first_block(async_client, theirs, topic) == changed
    assert await first_block(async_client, NOBODY, topic) == changed
    history = await async_client.get("/events/history.json", {"topic": topic, "user": theirs})
    assert history.status_code == 403
    await async_client.alogout()
    assert await first_block(async_client, mine, topic) == changed
    # What is public is nobody's in particular, and no session is read for it.
    opening = await first_block(async_client, mine, "demo.x")
    assert opening == {"type": "stream.cursor", "user": mine}


async def test_a_digest_by_an_earlier_key_of_the_site_is_still_good(
    async_client: AsyncClient, settings: DjangoSettings
) -> None:
    ada = await User.objects.acreate_user("ada")
    mine = page_user(ada)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another secret key of the site, long enough for the checks"
    await async_client.aforce_login(ada)
    opening = await first_block(async_client, mine, f"user.{ada.pk}")
    assert opening == {"type": "stream.cursor", "user": mine}

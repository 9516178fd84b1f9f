"""A permission that ends ends the stream, in every process, within a second."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.test_websocket import connected
from tests.harness.event_source import DEADLINE, Stream
from tests.harness.servers import (
    ROOT,
    SERVERS,
    RedisServer,
    WebServer,
    environment,
    migrate,
    redis_server,
)

PROMISE = 1.0
"""Seconds from the change to the end of the last stream."""
ROUND_TRIPS = 0.5
"""What this machine may take on top, being busy with other things."""

SHELL = """
import json, sys, django
django.setup()
from datetime import timedelta
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.backends.db import SessionStore
from notifications import kick
from notifications.access.identities import api_keys
from notifications.models import ApiKey

User = get_user_model()

def log_in(user):
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return session.session_key

def issue(**fields):
    key = ApiKey(**fields)
    text = api_keys.issue(key)
    key.save()
    return text

for line in sys.stdin:
    said = None
    exec(json.loads(line))
    print(json.dumps(said), flush=True)
"""


class Shell:
    """A Django process beside the servers, as a cron job or another service would be."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen

    def __call__(self, code: str) -> Any:
        """Runs the lines there, and gives what they left in `said`."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(json.dumps(code) + "\n")
        self._popen.stdin.flush()
        return json.loads(self._popen.stdout.readline())


class Site:
    def __init__(self, redis: RedisServer, servers: list[WebServer], shell: Shell) -> None:
        self.redis = redis
        self.servers = servers
        self.shell = shell
        self._number = 0

    def user(self, **fields: Any) -> tuple[int, str]:
        """A new user's primary key, and the cookie of a session of theirs."""
        self._number += 1
        fields = {"username": f"user-{self._number}", **fields}
        pk, session = self.shell(
            f"user = User.objects.create_user(**{fields!r}); said = [user.pk, log_in(user)]"
        )
        return pk, f"sessionid={session}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("ending")
    shared = {"CARILLON_ACCESS": "tests.end_to_end.rules.RULES"}
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis"))
        migrate(folder / "site")
        shared["DATABASE_URL"] = f"sqlite:///{_database(folder / 'site')}"
        servers = [
            stack.enter_context(SERVERS[kind](redis.url, folder / kind, port=0, **shared))
            for kind in sorted(SERVERS)
        ]
        popen = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", SHELL],
                cwd=ROOT,
                env={
                    **environment(redis.url, folder / "shell", shared),
                    "DJANGO_SETTINGS_MODULE": "config.settings",
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(popen.kill)
        yield Site(redis, servers, Shell(popen))


def _database(folder: Path) -> Path:
    [found] = folder.rglob("*.sqlite3")
    return found


@pytest.fixture
async def streams() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def opened(site: Site, stack: AsyncExitStack, *topics: str, **headers: str) -> list[Stream]:
    """A stream on each of the servers, up and running."""
    path = "/events/?" + "&".join(f"topic={topic}" for topic in topics)
    found = []
    for server in site.servers:
        stream = await stack.enter_async_context(Stream(server.port, path, headers=headers))
        assert (await stream.next()).type == "stream.cursor"
        found.append(stream)
    return found


async def reasons(streams: list[Stream]) -> set[str]:
    """Why they end, all of them in time."""
    began = time.monotonic()
    said = set()
    async with asyncio.timeout(DEADLINE):
        for stream in streams:
            while (event := await stream.next()).type != "stream.closing":
                pass
            said.add(json.loads(event.data)["reason"])
    assert time.monotonic() - began < PROMISE + ROUND_TRIPS
    return said


async def log_out(site: Site, cookie: str) -> None:
    """As a browser does at the first of the servers."""
    token = "t" * 32
    status, _, _ = await asyncio.to_thread(
        site.servers[0].request,
        "POST",
        "/admin/logout/",
        body=f"csrfmiddlewaretoken={token}&next=/health/live".encode(),
        headers={
            "Cookie": f"{cookie}; csrftoken={token}",
            "Content-Type": "application/x-www-form-urlencoded",
        },
    )
    assert status == 302


async def refused(site: Site, path: str, **headers: str) -> bool:
    """Whether every server refuses to open it again."""
    answers = [await asyncio.to_thread(server.get, path, **headers) for server in site.servers]
    return all(status in {401, 403} for status, _ in answers)


@pytest.mark.parametrize(
    "change",
    [
        "user.set_password('another'); user.save()",
        "user.is_active = False; user.save()",
        "user.delete()",
    ],
)
async def test_whoever_is_no_user_any_more_hears_no_more(
    site: Site, streams: AsyncExitStack, change: str
) -> None:
    pk, cookie = site.user()
    mine = await opened(site, streams, f"user.{pk}", Cookie=cookie)
    site.shell(f"user = User.objects.get(pk={pk}); {change}")
    assert await reasons(mine) == {"permission_ended"}
    assert await refused(site, f"/events/?topic=user.{pk}", Cookie=cookie)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("user.groups.add(group)", "user.groups.remove(group)"),
        ("user.groups.add(group)", "group.delete()"),
        ("user.user_permissions.add(permission)", "user.user_permissions.clear()"),
        (
            "user.groups.add(group); group.permissions.add(permission)",
            "group.permissions.clear(); group.user_set.clear()",
        ),
    ],
)
async def test_whoever_loses_a_group_or_a_permission_hears_no_more(
    site: Site, streams: AsyncExitStack, given: str, taken: str
) -> None:
    pk, cookie = site.user()
    found = (
        f"user = User.objects.get(pk={pk}); "
        "group, _ = Group.objects.get_or_create(name='editors'); "
        "permission = Permission.objects.get(codename='view_group'); "
    )
    site.shell(found + given)
    topic = "permitted" if "permission" in given else "editors"
    mine = await opened(site, streams, topic, Cookie=cookie)
    own = await opened(site, streams, f"user.{pk}", Cookie=cookie)
    site.shell(found + taken)
    assert await reasons(mine) == {"permission_ended"}
    assert await refused(site, f"/events/?topic={topic}", Cookie=cookie)
    # What is still theirs was asked about too, and goes on.
    await asyncio.to_thread(site.servers[0].publish, {"topic": f"user.{pk}", "data": "still"})
    assert {(await stream.next_event()).data for stream in own} == {"still"}


async def test_a_logout_ends_the_streams_of_its_session_alone(
    site: Site, streams: AsyncExitStack
) -> None:
    pk, cookie = site.user(is_staff=True)
    elsewhere = site.shell(f"said = log_in(User.objects.get(pk={pk}))")
    mine = await opened(site, streams, f"user.{pk}", Cookie=cookie)
    other = await opened(site, streams, f"user.{pk}", Cookie=f"sessionid={elsewhere}")
    await log_out(site, cookie)
    assert await reasons(mine) == {"signed_out"}
    assert await refused(site, f"/events/?topic=user.{pk}", Cookie=cookie)
    await asyncio.to_thread(site.servers[0].publish, {"topic": f"user.{pk}", "data": "still"})
    assert {(await stream.next_event()).data for stream in other} == {"still"}


async def test_what_ends_streams_ends_subscriptions_of_websockets_and_leaves_the_others(
    site: Site, streams: AsyncExitStack
) -> None:
    pk, cookie = site.user(is_staff=True)
    websockets = []
    for server in site.servers:
        opening = connected(server, subprotocols=None, additional_headers={"Cookie": cookie})
        websockets.append(await streams.enter_async_context(opening))
    for client in websockets:
        assert (await client.subscribe("mine", f"user.{pk}"))["topics"] == [f"user.{pk}"]
        await client.subscribe("public", "demo.left")
    began = time.monotonic()
    await log_out(site, cookie)
    for client in websockets:
        assert (await client.about("mine", "closing"))["reason"] == "signed_out"
    assert time.monotonic() - began < PROMISE + ROUND_TRIPS
    for client in websockets:  # which opened when there was a session
        assert (await client.subscribe("again", f"user.{pk}"))["code"] == "forbidden"
    await asyncio.to_thread(site.servers[0].publish, {"topic": "demo.left", "data": "still"})
    assert [await client.data("public") for client in websockets] == ["still"] * 2
    site.shell("kick(topic='demo.left')")
    for client in websockets:
        assert (await client.about("public", "closing"))["reason"] == "kicked"


async def test_a_key_that_is_revoked_hears_and_says_no_more(
    site: Site, streams: AsyncExitStack
) -> None:
    key = site.shell("said = issue(name='k', subscribe=['orders.*'], publish=['orders.*'])")
    bearer = {"Authorization": f"Bearer {key}"}
    mine = await opened(site, streams, "orders.1", **bearer)
    site.shell(
        "from django.utils import timezone; key = ApiKey.objects.get(name='k'); "
        "key.revoked_at = timezone.now(); key.save()"
    )
    assert await reasons(mine) == {"permission_ended"}
    assert await refused(site, "/events/?topic=orders.1", **bearer)


async def test_a_kick_ends_streams_that_may_come_back(site: Site, streams: AsyncExitStack) -> None:
    pk, cookie = site.user()
    mine = await opened(site, streams, f"user.{pk}", "demo.kicked", Cookie=cookie)
    public = await opened(site, streams, "demo.kicked")
    site.shell("kick(topic='demo.kicked')")
    assert await reasons([*mine, *public]) == {"kicked"}
    again = await opened(site, streams, f"user.{pk}", Cookie=cookie)
    site.shell(f"kick(user={pk})")
    assert await reasons(again) == {"kicked"}


async def test_a_topic_that_is_refused_is_told_and_the_others_are_served(
    site: Site, streams: AsyncExitStack
) -> None:
    pk, cookie = site.user()
    both = await opened(site, streams, f"user.{pk}", "user.0", Cookie=cookie)
    denied = [await stream.next() for stream in both]
    assert {each.type for each in denied} == {"stream.denied"}
    assert {each.data for each in denied} == {'{"topics":["user.0"],"reason":"forbidden"}'}
    await asyncio.to_thread(
        site.servers[0].publish,
        [{"topic": "user.0", "data": "no"}, {"topic": f"user.{pk}", "data": "yes"}],
    )
    assert {(await stream.next_event()).data for stream in both} == {"yes"}


async def test_history_has_no_orders_in_it(site: Site, streams: AsyncExitStack) -> None:
    site.shell("kick(topic='demo.past')")
    await asyncio.to_thread(site.servers[0].publish, {"topic": "demo.past", "data": "first"})
    site.shell("kick(topic='demo.past')")
    await asyncio.to_thread(site.servers[0].publish, {"topic": "demo.past", "data": "last"})
    for stream in await opened(site, streams, "demo.past&since=all"):
        said = [await stream.next() for _ in range(2)]
        assert [each.data for each in said] == ["first", "last"]


async def test_while_redis_is_away_a_logout_is_done_at_once_where_it_happens(
    site: Site, streams: AsyncExitStack
) -> None:
    pk, cookie = site.user(is_staff=True)
    here, there = await opened(site, streams, f"user.{pk}", Cookie=cookie)
    site.redis.pause()
    try:
        began = time.monotonic()
        await log_out(site, cookie)
        assert time.monotonic() - began < PROMISE + ROUND_TRIPS
        assert await reasons([here]) == {"signed_out"}
    finally:
        site.redis.resume()
    assert "signed_out" in {
        json.loads(event.data).get("reason")
        async for event in there
        if event.type == "stream.closing"
    }

"""A permission that ends ends the stream, in every process, within a second."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.shell import Shell, running_shell
from tests.end_to_end.test_websocket import connected
from tests.harness.event_source import DEADLINE_SECONDS, Stream
from tests.harness.promises import within
from tests.harness.servers import (
    SERVERS,
    RedisServer,
    WebServer,
    migrate,
    redis_server,
    wait_until_ready,
)

PROMISED_SECONDS = 1.0
"""From the change of a permission to the end of the last stream."""
SLACK_SECONDS = 0.5


class Site:
    def __init__(self, redis: RedisServer, servers: list[WebServer], shell: Shell) -> None:
        self.redis = redis
        self.servers = servers
        self.shell = shell
        self._number = 0

    def user(self, **fields: Any) -> tuple[int, str]:
        """A new user's primary key, and the cookie of one of their sessions."""
        self._number += 1
        fields = {"username": f"user-{self._number}", **fields}
        pk, session = self.shell(
            f"user = User.objects.create_user(**{fields!r}); result = [user.pk, log_in(user)]"
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
        shell = stack.enter_context(running_shell(redis.url, folder / "shell", shared))
        for server in servers:  # start them before the deadline of a test begins
            wait_until_ready(server.port)
        yield Site(redis, servers, shell)


def _database(folder: Path) -> Path:
    [found] = folder.rglob("*.sqlite3")
    return found


@pytest.fixture
async def streams() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def opened(site: Site, stack: AsyncExitStack, *topics: str, **headers: str) -> list[Stream]:
    """A stream on each of the servers, which has received its opening block."""
    path = "/events/?" + "&".join(f"topic={topic}" for topic in topics)
    streams = []
    for server in site.servers:
        stream = await stack.enter_async_context(Stream(server.port, path, headers=headers))
        assert (await stream.next()).type == "stream.cursor"
        streams.append(stream)
    return streams


async def reasons(streams: list[Stream]) -> set[str]:
    """The reasons with which all the streams end, in time."""
    found = set()
    with within(PROMISED_SECONDS + SLACK_SECONDS):
        async with asyncio.timeout(DEADLINE_SECONDS):
            for stream in streams:
                while (event := await stream.next()).type != "stream.closing":
                    pass
                found.add(json.loads(event.data)["reason"])
    return found


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
    """Whether every server refuses a new stream on this path."""
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
async def test_the_streams_of_a_user_that_is_removed_or_changed_end(
    site: Site, streams: AsyncExitStack, change: str
) -> None:
    pk, cookie = site.user()
    mine = await opened(site, streams, f"user.{pk}", Cookie=cookie)
    site.shell(f"user = User.objects.get(pk={pk}); {change}")
    assert await reasons(mine) == {"permission_ended"}
    assert await refused(site, f"/events/?topic=user.{pk}", Cookie=cookie)


@pytest.mark.parametrize(
    ("grant", "revoke"),
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
async def test_the_streams_of_a_group_or_permission_that_is_lost_end(
    site: Site, streams: AsyncExitStack, grant: str, revoke: str
) -> None:
    pk, cookie = site.user()
    setup = (
        f"user = User.objects.get(pk={pk}); "
        "group, _ = Group.objects.get_or_create(name='editors'); "
        "permission = Permission.objects.get(codename='view_group'); "
    )
    site.shell(setup + grant)
    topic = "permitted" if "permission" in grant else "editors"
    mine = await opened(site, streams, topic, Cookie=cookie)
    own = await opened(site, streams, f"user.{pk}", Cookie=cookie)
    site.shell(setup + revoke)
    assert await reasons(mine) == {"permission_ended"}
    assert await refused(site, f"/events/?topic={topic}", Cookie=cookie)
    # The stream of their own topic was checked again too, and goes on.
    await asyncio.to_thread(site.servers[0].publish, {"topic": f"user.{pk}", "data": "still"})
    assert {(await stream.next_event()).data for stream in own} == {"still"}


async def test_a_logout_ends_the_streams_of_its_session_alone(
    site: Site, streams: AsyncExitStack
) -> None:
    pk, cookie = site.user(is_staff=True)
    elsewhere = site.shell(f"result = log_in(User.objects.get(pk={pk}))")
    mine = await opened(site, streams, f"user.{pk}", Cookie=cookie)
    other = await opened(site, streams, f"user.{pk}", Cookie=f"sessionid={elsewhere}")
    await log_out(site, cookie)
    assert await reasons(mine) == {"signed_out"}
    assert await refused(site, f"/events/?topic=user.{pk}", Cookie=cookie)
    await asyncio.to_thread(site.servers[0].publish, {"topic": f"user.{pk}", "data": "still"})
    assert {(await stream.next_event()).data for stream in other} == {"still"}


async def test_a_logout_or_a_kick_ends_subscriptions_of_websockets_and_leaves_the_others(
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
    with within(PROMISED_SECONDS + SLACK_SECONDS):
        await log_out(site, cookie)
        for client in websockets:
            assert (await client.about("mine", "closing"))["reason"] == "signed_out"
    for client in websockets:  # they were opened while the session existed
        assert (await client.subscribe("again", f"user.{pk}"))["code"] == "forbidden"
    await asyncio.to_thread(site.servers[0].publish, {"topic": "demo.left", "data": "still"})
    assert [await client.data("public") for client in websockets] == ["still"] * 2
    site.shell("kick(topic='demo.left')")
    for client in websockets:
        assert (await client.about("public", "closing"))["reason"] == "kicked"


async def test_the_streams_of_a_revoked_key_end_and_it_opens_no_more(
    site: Site, streams: AsyncExitStack
) -> None:
    key = site.shell("result = issue(name='k', subscribe=['orders.*'], publish=['orders.*'])")
    bearer = {"Authorization": f"Bearer {key}"}
    mine = await opened(site, streams, "orders.1", **bearer)
    site.shell(
        "from django.utils import timezone; key = ApiKey.objects.get(name='k'); "
        "key.revoked_at = timezone.now(); key.save()"
    )
    assert await reasons(mine) == {"permission_ended"}
    assert await refused(site, "/events/?topic=orders.1", **bearer)


async def test_a_kick_ends_streams_whose_clients_may_come_back(
    site: Site, streams: AsyncExitStack
) -> None:
    pk, cookie = site.user()
    mine = await opened(site, streams, f"user.{pk}", "demo.kicked", Cookie=cookie)
    public = await opened(site, streams, "demo.kicked")
    site.shell("kick(topic='demo.kicked')")
    assert await reasons([*mine, *public]) == {"kicked"}
    again = await opened(site, streams, f"user.{pk}", Cookie=cookie)
    site.shell(f"kick(user={pk})")
    assert await reasons(again) == {"kicked"}


async def test_a_refused_topic_is_reported_and_the_others_are_served(
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


async def test_history_contains_no_control_entries(site: Site, streams: AsyncExitStack) -> None:
    site.shell("kick(topic='demo.past')")
    await asyncio.to_thread(site.servers[0].publish, {"topic": "demo.past", "data": "first"})
    site.shell("kick(topic='demo.past')")
    await asyncio.to_thread(site.servers[0].publish, {"topic": "demo.past", "data": "last"})
    for stream in await opened(site, streams, "demo.past&since=all"):
        events = [await stream.next() for _ in range(2)]
        assert [each.data for each in events] == ["first", "last"]


async def test_while_redis_is_away_a_logout_ends_streams_in_its_own_process_at_once(
    site: Site, streams: AsyncExitStack
) -> None:
    pk, cookie = site.user(is_staff=True)
    same_process, other_process = await opened(site, streams, f"user.{pk}", Cookie=cookie)
    site.redis.pause()
    try:
        with within(PROMISED_SECONDS + SLACK_SECONDS):
            await log_out(site, cookie)
        assert await reasons([same_process]) == {"signed_out"}
    finally:
        site.redis.resume()
    assert "signed_out" in {
        json.loads(event.data).get("reason")
        async for event in other_process
        if event.type == "stream.closing"
    }

"""Sites that read from a replica: whoever loses a permission loses it before the replica knows."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, closing
from functools import cache
from pathlib import Path

import psycopg
import pytest

from tests.end_to_end.shell import running_shell
from tests.end_to_end.test_ending import Site, log_out, opened, reasons, refused
from tests.end_to_end.test_websocket import Client, connected
from tests.harness.event_source import Stream
from tests.harness.postgresql import replicated_postgresql, wait_for_standby
from tests.harness.servers import SERVERS, manage, migrate, redis_server, wait_until_ready

LAG_SECONDS = 2.0
TABLES = ("auth_user_groups", "auth_user_user_permissions", "django_session", "carillon_apikey")
USERS = "SELECT id, is_active, password FROM auth_user ORDER BY id"


class Replicated(Site):
    """A site with a replica that lags. Its second server has a middleware that reads the user."""

    catch_up: Callable[[], None]
    """Wait until the replica has all that the primary has."""
    rows: Callable[[], object]
    """What the replica has."""


@pytest.fixture(scope="module")
def start_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Replicated]]:
    """The site of a kind starts once, in whatever order the tests need the kinds."""
    with ExitStack() as stack:
        yield cache(lambda kind: _site(kind, tmp_path_factory.mktemp("replicas"), stack))


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, start_site: Callable[[str], Replicated]) -> Replicated:
    return start_site(request.param)


def _site(kind: str, folder: Path, stack: ExitStack) -> Replicated:
    redis = stack.enter_context(redis_server(folder / "redis"))
    make = _sqlite if kind == "sqlite" else _postgresql
    url, replica_url, catch_up, rows = make(folder, stack)
    shared = {
        "DATABASE_URL": url,
        "REPLICA_URL": replica_url,
        "CARILLON_ACCESS": "tests.end_to_end.rules.OwnQueries",
        "DJANGO_SETTINGS_MODULE": "tests.harness.replica_site",
    }
    servers = [
        stack.enter_context(SERVERS[kind](redis.url, folder / kind, port=0, **shared, **more))
        for kind, more in (("daphne", {}), ("uvicorn", {"READS_USER": "1"}))
    ]
    # The shell is a process that reads and writes the primary alone.
    alone = {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "config.settings"}
    shell = stack.enter_context(running_shell(redis.url, folder / "shell", alone))
    for server in servers:  # start them before the deadline of a test begins
        wait_until_ready(server.port)
    site = Replicated(redis, servers, shell)
    site.catch_up, site.rows = catch_up, rows
    return site


type Databases = tuple[str, str, Callable[[], None], Callable[[], object]]


def _sqlite(folder: Path, _: ExitStack) -> Databases:
    """The replica is a copy, which is behind until the test copies again."""
    migrate(folder / "site")
    primary, replica = folder / "site" / "db.sqlite3", folder / "replica.sqlite3"

    def catch_up() -> None:
        connect = sqlite3.connect
        with closing(connect(primary)) as source, closing(connect(replica)) as target:
            source.backup(target)

    def rows() -> object:
        with closing(sqlite3.connect(replica)) as connection:
            counts = [connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES]
            return counts, connection.execute(USERS).fetchall()

    catch_up()
    return f"sqlite:///{primary}", f"sqlite:///{replica}", catch_up, rows


def _postgresql(folder: Path, stack: ExitStack) -> Databases:
    """The replica is a standby that applies each commit two seconds later."""
    url, replica_url = stack.enter_context(replicated_postgresql(lag_seconds=LAG_SECONDS))
    manage("migrate", "-v0", redis_url="redis://127.0.0.1:1/0", folder=folder, DATABASE_URL=url)

    def rows() -> object:
        with psycopg.connect(replica_url) as connection:
            counts = [connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES]
            return counts, connection.execute(USERS).fetchall()

    return url, replica_url, lambda: wait_for_standby(url, replica_url), rows


@pytest.fixture
async def streams() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


SETUP = (
    "user = User.objects.get(pk={pk}); "
    "group, _ = Group.objects.get_or_create(name='editors'); "
    "permission = Permission.objects.get(codename='view_group'); "
)
LOSSES = {
    "deactivated": ("user.{pk}", "", "user.is_active = False; user.save()"),
    "password": ("user.{pk}", "", "user.set_password('another'); user.save()"),
    "deleted": ("user.{pk}", "", "user.delete()"),
    "group": ("editors", "user.groups.add(group)", "user.groups.remove(group)"),
    "permission": (
        "permitted",
        "user.user_permissions.add(permission)",
        "user.user_permissions.clear()",
    ),
    "permission of a group": (
        "permitted",
        "user.groups.add(group); group.permissions.add(permission)",
        "group.permissions.clear(); user.groups.clear()",
    ),
    "asked in a thread": ("thread", "user.groups.add(group)", "user.groups.clear()"),
    "asked by async code": ("async", "user.groups.add(group)", "user.groups.clear()"),
}


@pytest.mark.parametrize(
    ("site", "loss"),
    [
        *(("sqlite", loss) for loss in LOSSES),
        *(("postgresql", loss) for loss in ("deactivated", "group", "asked by async code")),
    ],
    indirect=["site"],
)
async def test_a_lost_permission_ends_streams_and_opens_none_while_the_replica_has_it(
    site: Replicated, streams: AsyncExitStack, loss: str
) -> None:
    topic, gain, lose = LOSSES[loss]
    pk, cookie = site.user()
    setup, topic = SETUP.format(pk=pk), topic.format(pk=pk)
    site.shell(setup + gain)
    await asyncio.to_thread(site.catch_up)
    mine = await opened(site, streams, topic, Cookie=cookie)
    outdated = site.rows()
    site.shell(setup + lose)
    assert await reasons(mine) == {"permission_ended"}
    assert await refused(site, f"/events/?topic={topic}", Cookie=cookie)
    assert site.rows() == outdated


async def test_a_logout_ends_streams_and_opens_none_while_the_replica_has_the_session(
    site: Replicated, streams: AsyncExitStack
) -> None:
    pk, cookie = site.user(is_staff=True)
    await asyncio.to_thread(site.catch_up)
    mine = await opened(site, streams, f"user.{pk}", Cookie=cookie)
    outdated = site.rows()
    await log_out(site, cookie)
    assert await reasons(mine) == {"signed_out"}
    assert await refused(site, f"/events/?topic=user.{pk}", Cookie=cookie)
    assert site.rows() == outdated


async def test_a_deactivated_user_publishes_nothing_while_the_replica_has_them_active(
    site: Replicated,
) -> None:
    pk, cookie = site.user()
    may = "Permission.objects.get(codename='publish_event')"
    site.shell(f"User.objects.get(pk={pk}).user_permissions.add({may})")
    await asyncio.to_thread(site.catch_up)
    assert await published_status(site, cookie) == {201}
    outdated = site.rows()
    site.shell(f"user = User.objects.get(pk={pk}); user.is_active = False; user.save()")
    assert await published_status(site, cookie) == {401}
    assert site.rows() == outdated


async def published_status(site: Site, cookie: str) -> set[int]:
    """How the servers answer to a publication by this session."""
    token = "t" * 32
    headers = {
        "Cookie": f"{cookie}; csrftoken={token}",
        "X-CSRFToken": token,
        "Content-Type": "application/json",
    }
    body = b'{"topic": "demo.x", "data": 1}'
    answers = [
        await asyncio.to_thread(each.request, "POST", "/publish/", body=body, headers=headers)
        for each in site.servers
    ]
    return {status for status, _, _ in answers}


async def test_websockets_subscribe_to_nothing_while_the_replica_has_the_user_active(
    site: Replicated, streams: AsyncExitStack
) -> None:
    pk, cookie = site.user()
    await asyncio.to_thread(site.catch_up)

    async def connect() -> list[Client]:
        headers = {"Cookie": cookie}
        openings = [
            connected(server, subprotocols=None, additional_headers=headers)
            for server in site.servers
        ]
        return [await streams.enter_async_context(opening) for opening in openings]

    before = await connect()
    for client in before:
        assert (await client.subscribe("mine", f"user.{pk}"))["topics"] == [f"user.{pk}"]
    outdated = site.rows()
    site.shell(f"user = User.objects.get(pk={pk}); user.is_active = False; user.save()")
    for client in before:
        assert (await client.about("mine", "closing"))["reason"] == "permission_ended"
    for client in [*before, *await connect()]:
        assert (await client.subscribe("again", f"user.{pk}"))["code"] == "forbidden"
    assert site.rows() == outdated


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
async def test_a_revoked_key_opens_nothing_while_the_replica_has_it_valid(
    site: Replicated, streams: AsyncExitStack
) -> None:
    key = site.shell("result = issue(name='k', subscribe=['orders.*'], publish=['orders.*'])")
    await asyncio.to_thread(site.catch_up)
    bearer = {"Authorization": f"Bearer {key}"}
    mine = await opened(site, streams, "orders.1", **bearer)
    outdated = site.rows()
    site.shell("ApiKey.objects.get(revoked_at=None).revoke()")
    assert await reasons(mine) == {"permission_ended"}
    assert await refused(site, "/events/?topic=orders.1", **bearer)
    assert site.rows() == outdated


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
async def test_a_link_of_a_deactivated_user_opens_nothing_while_the_replica_has_them_active(
    site: Replicated, streams: AsyncExitStack
) -> None:
    pk, _ = site.user()
    link = site.shell(
        "from notifications.access.identities.signed_links import events_url\n"
        f"result = events_url('orders.1', user=User.objects.get(pk={pk}))"
    )
    await asyncio.to_thread(site.catch_up)
    mine = []
    for server in site.servers:
        mine.append(await streams.enter_async_context(Stream(server.port, link)))
        assert (await mine[-1].next()).type == "stream.cursor"
    outdated = site.rows()
    site.shell(f"user = User.objects.get(pk={pk}); user.is_active = False; user.save()")
    assert await reasons(mine) == {"permission_ended"}
    assert await refused(site, link)
    assert site.rows() == outdated

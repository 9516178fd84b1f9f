"""A browser that is back in a minute goes on without the database, and outruns no permission."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest

from notifications.log.cursors import Cursor, parse_position
from tests.end_to_end.shell import running_shell
from tests.end_to_end.test_ending import Site, log_out
from tests.harness.event_source import Stream
from tests.harness.servers import SERVERS, WebServer, migrate, redis_server, wait_until_ready

DEADLINE_SECONDS = 60.0
HEADER = "X-Queries"  # of `tests.harness.counting_site`, whose import changes settings
FLUSH = "from notifications.publishing.control import flush; assert flush(20); "


class Counted(Site):
    """A site whose processes count their queries, and whose first and second server are warm."""

    folder: Path
    start: Callable[..., WebServer]

    def user(self, **fields: Any) -> tuple[int, str]:
        """As of the site. No control entry about the new user comes after a stream of theirs."""
        made = super().user(**fields)
        self.shell(FLUSH)
        return made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counted]:
    folder = tmp_path_factory.mktemp("continuing")
    migrate(folder / "site")
    shared = {
        "CARILLON_ACCESS": "tests.end_to_end.rules.RULES",
        "DJANGO_SETTINGS_MODULE": "tests.harness.counting_site",
        "SUBSTITUTES": "1",
        "DATABASE_URL": f"sqlite:///{folder / 'site' / 'db.sqlite3'}",
    }
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis"))

        def start(kind: str, name: str, **more: str) -> WebServer:
            server = SERVERS[kind](redis.url, folder / name, port=0, **shared, **more)
            return stack.enter_context(server)

        servers = [
            start("uvicorn", "one"),
            start("daphne", "other"),
        ]
        shell = stack.enter_context(running_shell(redis.url, folder / "shell", shared))
        made = Counted(redis, servers, shell)
        made.folder, made.start = folder, start
        for server in servers:
            wait_until_ready(server.port)
        yield made


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as entered:
        yield entered


def path_of(*topics: str) -> str:
    return "/events/?" + "&".join(f"topic={topic}" for topic in topics)


def remembered(site: Counted) -> dict[str, str]:
    """What Redis remembers of ended streams."""
    with site.redis.client() as client:
        names = [name.decode() for name in client.scan_iter("{carillon}:ended:*")]
        return {name: (client.get(name) or b"").decode() for name in names}


async def published(server: WebServer) -> Cursor:
    """Of an event that the server has read, as all that the log has before it."""
    async with Stream(server.port, path_of("demo.read")) as stream:
        assert (await stream.next()).type == "stream.cursor"
        await asyncio.to_thread(server.publish, {"topic": "demo.read", "data": 1})
        return Cursor.parse((await stream.next_event()).id)


async def interrupted(
    site: Counted, server: WebServer, *topics: str, cookie: str, **headers: str
) -> str:
    """Open a stream and leave it; the name of what Redis remembers of it then.

    Streams that ended a moment ago may be written later than this one. They are recognized by their
    position, since whatever is older is not continued.
    """
    site.shell(f"from notifications import recheck; recheck()\n{FLUSH}")
    cursor = await published(server)
    async with Stream(
        server.port, path_of(*topics), headers={"Cookie": cookie, **headers}
    ) as stream:
        assert stream.status == 200
        assert (await stream.next()).type == "stream.cursor"
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            for name, value in remembered(site).items():
                _, position, *_ = [*value.split("\n"), ""]
                if position and parse_position(position.encode()) >= cursor.position:
                    return name
            await asyncio.sleep(0.02)


async def queries_so_far(server: WebServer) -> int:
    _, headers, _ = await asyncio.to_thread(server.request, "GET", "/none/", headers={})
    return int({name.lower(): value for name, value in headers.items()}[HEADER.lower()])


async def returned(server: WebServer, *topics: str, cookie: str, **headers: str) -> tuple[int, int]:
    """The status of a new stream, and the number of queries that it took."""
    before = await queries_so_far(server)
    headers = {"Cookie": cookie, **headers}
    async with Stream(server.port, path_of(*topics), headers=headers) as stream:
        if stream.status == 200:
            event = await stream.next()
            assert event.type == "stream.cursor", event
        return stream.status, int(stream.headers[HEADER.lower()]) - before


GOES_ON = (200, 0)


async def test_a_browser_that_is_back_goes_on_without_a_query(
    site: Counted, stack: AsyncExitStack
) -> None:
    one, other = site.servers
    pk, cookie = site.user()
    await interrupted(site, one, f"user.{pk}", cookie=cookie)
    for server in (other, one, other):  # twice from one stream, and from continued ones
        assert await returned(server, f"user.{pk}", cookie=cookie) == GOES_ON
    fresh = site.start("uvicorn", "fresh")
    assert await queries_so_far(fresh) == 0
    stream = await stack.enter_async_context(
        Stream(fresh.port, path_of(f"user.{pk}"), headers={"Cookie": cookie})
    )
    assert (await stream.next()).type == "stream.cursor"
    assert stream.headers[HEADER.lower()] == "0"
    # It is a stream as any other: it gets events, and ends with its permission.
    one.publish({"topic": f"user.{pk}", "data": {"n": 1}})
    assert json.loads((await stream.next_event()).data) == {"n": 1}
    site.shell(f"User.objects.get(pk={pk}).delete()")
    closing = await stream.next_event()
    assert closing.type == "stream.closing"
    assert json.loads(closing.data)["reason"] == "permission_ended"
    assert (await returned(fresh, f"user.{pk}", cookie=cookie))[0] == 403


ENDS: dict[str, tuple[str, str, int]] = {
    "another password": ("", "user.set_password('new'); user.save()", 403),
    "deactivated": ("", "user.is_active = False; user.save()", 403),
    "deleted": ("", "user.delete()", 403),
    "session deleted": ("", "SessionStore(session).delete()", 403),
    "session flushed, and its key used again": (
        "",
        "SessionStore(session).flush(); again = SessionStore(session); again['a'] = 1; "
        "again.save(must_create=True)",
        403,
    ),
    "session row deleted": (
        "",
        "from django.contrib.sessions.models import Session; "
        "Session.objects.filter(session_key=session).delete()",
        403,
    ),
    "another key": ("", "SessionStore(session).cycle_key()", 403),
    "kicked": ("", "kick(user=user)", 200),
    "topic kicked": ("", "kick(topic=f'user.{user.pk}')", 200),
    "rechecked": ("", "from notifications import recheck; recheck(user=user)", 200),
    "everyone rechecked": ("", "from notifications import recheck; recheck()", 200),
    "group lost": (
        "editors",
        "user.groups.clear()",
        403,
    ),
    "group renamed": ("editors", "group = user.groups.get(); group.name = 'x'; group.save()", 403),
    "permission lost": ("permitted", "user.user_permissions.clear()", 403),
}
GRANTS = {
    "": "",
    "editors": "user.groups.add(Group.objects.get_or_create(name='editors')[0])",
    "permitted": "user.user_permissions.add(Permission.objects.get(codename='view_group'))",
}


@pytest.mark.timeout(400)
async def test_whatever_ends_a_permission_is_not_outrun(site: Counted) -> None:
    fresh = site.start("daphne", "fresh-too")
    for name, (grant, change, status) in ENDS.items():
        pk, cookie = site.user()
        session = cookie.partition("=")[2]
        head = f"session = {session!r}; user = User.objects.get(pk={pk}); "
        site.shell(f"{head}{GRANTS[grant]}\n{FLUSH}")
        topic = grant or f"user.{pk}"
        await interrupted(site, site.servers[0], topic, cookie=cookie)
        assert await returned(site.servers[1], topic, cookie=cookie) == GOES_ON, name
        site.shell(f"{head}{change}\n{FLUSH}")
        for server in (*site.servers, fresh):
            found, queries = await returned(server, topic, cookie=cookie)
            assert found == status, name
            assert queries > 0 or status == 403, name
            if status == 200:
                break  # the database was asked since, so it may go on again


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_after_a_process_has_stopped_its_browsers_go_on_elsewhere_unless_it_was_killed(
    site: Counted, kind: str
) -> None:
    for end, goes_on in (("stop", True), ("kill", False)):
        server = site.start(kind, f"{kind}-{end}")
        _, cookie = site.user()
        await published(server)  # no control entry about the new user comes after the stream
        stream = Stream(server.port, path_of(), headers={"Cookie": cookie})
        async with stream:
            assert (await stream.next()).type == "stream.cursor"
            await asyncio.to_thread(getattr(server, end))
        found = await returned(site.servers[1], cookie=cookie)
        assert (found == GOES_ON) == goes_on
        assert found[0] == 200


async def test_a_log_out_is_not_outrun_in_the_process_that_handled_it(site: Counted) -> None:
    for _ in range(5):
        pk, cookie = site.user(is_staff=True)
        await interrupted(site, site.servers[0], f"user.{pk}", cookie=cookie)
        await log_out(site, cookie)
        assert (await returned(site.servers[0], f"user.{pk}", cookie=cookie))[0] == 403


def digest(server: WebServer, cookie: str) -> str:
    """The user of a page that is rendered for this session, as the URL of its stream has it."""
    _, _, page = server.request("GET", "/", headers={"Cookie": cookie})
    found = re.search(rb"[?&;]user=([0-9a-f]{32})", page)
    assert found
    return found[1].decode()


async def test_only_the_same_session_topics_and_user_go_on(site: Counted) -> None:
    one, other = site.servers
    pk, cookie = site.user()
    topic = f"user.{pk}"
    name = await interrupted(site, one, topic, "demo.a", cookie=cookie)
    assert (await returned(other, topic, cookie=cookie))[1] > 0
    assert (await returned(other, topic, "demo.b", cookie=cookie))[1] > 0
    assert await returned(other, topic, "demo.a", cookie=cookie) == GOES_ON
    # Another user's session, and another user in place of the session's.
    stranger, strange_cookie = site.user()
    assert (await returned(other, topic, cookie=strange_cookie))[0] == 403
    headers = {"X-User": str(stranger)}
    status, queries = await returned(other, topic, "demo.a", cookie=cookie, **headers)
    assert queries > 0
    # A page that was made for another user, whose tab is still open.
    async with Stream(
        other.port,
        f"{path_of(topic, 'demo.a')}&user={digest(other, strange_cookie)}",
        headers={"Cookie": cookie},
    ) as stream:
        assert json.loads((await stream.next_event()).data) == {"reason": "user_changed"}
    mine = f"demo.a&user={digest(other, cookie)}"
    assert await returned(other, topic, mine, cookie=cookie) == GOES_ON
    # A page of an origin that may not.
    headers = {"Origin": "https://elsewhere.example"}
    status, _ = await returned(other, topic, "demo.a", cookie=cookie, **headers)
    assert status == 403
    # What somebody else has written into Redis: nothing, rubbish, and another stream's memory.
    with site.redis.client() as client:
        good = client.get(name)
        assert good is not None
        name_of_stranger = await interrupted(
            site, one, f"user.{stranger}", "demo.a", cookie=strange_cookie
        )
        for value in (
            b"rubbish",
            good.replace(b'"until"', b'"unti1"'),
            good.replace(f"\nuser:{pk}".encode(), b""),
            client.get(name_of_stranger) or b"",
        ):
            client.set(name, value, px=60_000)
            assert (await returned(other, topic, "demo.a", cookie=cookie))[1] > 0, value
            await interrupted(site, one, topic, "demo.a", cookie=cookie)
        client.persist(name)
        assert (await returned(other, topic, "demo.a", cookie=cookie))[1] > 0


async def test_redis_that_lost_its_data_continues_nobody(site: Counted) -> None:
    one, other = site.servers
    pk, cookie = site.user()
    name = await interrupted(site, one, f"user.{pk}", cookie=cookie)
    with site.redis.client() as client:
        value, ttl = client.get(name), client.pttl(name)
        client.flushall()
        client.set(name, value or b"", px=ttl)
    assert (await returned(other, f"user.{pk}", cookie=cookie))[1] > 0


async def test_a_burst_that_trims_the_log_hides_no_revocation(site: Counted) -> None:
    one, other = site.servers
    pk, cookie = site.user()
    await interrupted(site, one, f"user.{pk}", cookie=cookie)
    site.shell(f"user = User.objects.get(pk={pk}); user.is_active = False; user.save()\n{FLUSH}")
    with site.redis.client() as client:
        client.xtrim("{carillon}:log", maxlen=1, approximate=False)
    for server in (other, site.start("uvicorn", "after-the-burst")):
        assert (await returned(server, f"user.{pk}", cookie=cookie))[0] == 403

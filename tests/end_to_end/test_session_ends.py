"""A session that ends, moves or has another's user, whichever engine keeps it, in every process."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.shell import Shell
from tests.end_to_end.test_ending import PROMISED_SECONDS, Site, opened, reasons
from tests.harness.event_source import Stream
from tests.harness.promises import within
from tests.harness.servers import (
    DATABASE,
    NO_REDIS,
    SERVERS,
    environment,
    manage,
    redis_server,
    wait_until_ready,
)
from tests.harness.warm import python_process

ENGINES = {
    "db": "django.contrib.sessions.backends.db",
    "cached_db": "django.contrib.sessions.backends.cached_db",
    "cache": "django.contrib.sessions.backends.cache",
    "file": "django.contrib.sessions.backends.file",
    "cookie": "django.contrib.sessions.backends.signed_cookies",
    "user_sessions": "user_sessions.backends.db",
}
WITH_ROWS = {
    "db": "django.contrib.sessions.models",
    "cached_db": "django.contrib.sessions.models",
    "user_sessions": "user_sessions.models",
}
SETTINGS = "tests.harness.session_site.settings"
TOKEN = "t" * 32
SHELL = """
import json, sys, django
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from notifications import recheck
User = get_user_model()
for line in sys.stdin:
    result = None
    exec(json.loads(line))
    print(json.dumps(result), flush=True)
"""


class Browser:
    """Cookies, and one of the servers to send them to."""

    def __init__(self, port: int) -> None:
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20)
        self._client.cookies.set("csrftoken", TOKEN, domain="127.0.0.1", path="/")

    def post(self, path: str, **fields: Any) -> None:
        [token] = [each.value for each in self._client.cookies.jar if each.name == "csrftoken"]
        fields["csrfmiddlewaretoken"] = token
        response = self._client.post(path, data=fields)
        assert response.status_code in {204, 302}, response.text

    async def do(self, *path: object, **fields: Any) -> None:
        """Send a request, and follow no redirect."""
        await asyncio.to_thread(self.post, "/" + "/".join(map(str, path)) + "/", **fields)

    async def get(self, *path: object) -> None:
        url = "/" + "/".join(map(str, path)) + "/"
        response = await asyncio.to_thread(self._client.get, url)
        assert response.status_code == 302, response.text

    @property
    def cookie(self) -> str:
        return "; ".join(f"{each.name}={each.value}" for each in self._client.cookies.jar)

    def close(self) -> None:
        self._client.close()


class SessionSite(Site):
    engine = "db"

    def make_user(self, **fields: Any) -> int:
        self._number += 1
        fields = {"username": f"user-{self._number}", **fields}
        pk: int = self.shell(f"result = User.objects.create_user(**{fields!r}).pk")
        return pk

    @property
    def sessions(self) -> str:
        """The import of the model of the sessions."""
        return f"from {WITH_ROWS[self.engine]} import Session; "


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the tables of the site, which is migrated only once."""
    folder: Path = tmp_path_factory.mktemp("migrated")
    settings = {
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "DATABASE_URL": f"sqlite:///{folder / DATABASE}",
    }
    manage("migrate", "-v0", redis_url=NO_REDIS, folder=folder, **settings)
    return folder / DATABASE


@pytest.fixture(scope="module", params=ENGINES)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, database: Path
) -> Iterator[SessionSite]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    settings = {
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "SITE_SESSION_ENGINE": ENGINES[request.param],
        "SITE_CACHE": str(folder / "cache"),
        "DATABASE_URL": f"sqlite:///{folder / DATABASE}",
        "DATA_DIR": str(folder),
    }
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis"))
        shutil.copy(database, folder / DATABASE)
        servers = [
            stack.enter_context(SERVERS[kind](redis.url, folder / kind, port=0, **settings))
            for kind in sorted(SERVERS)
        ]
        popen = stack.enter_context(
            python_process(
                *("-c", SHELL),
                env=environment(redis.url, folder, settings),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(popen.kill)
        for server in servers:  # start them before the deadline of a test begins
            wait_until_ready(server.port)
        made = SessionSite(redis, servers, Shell(popen))
        made.engine = request.param
        yield made


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as entered:
        yield entered


async def browser_of(site: SessionSite, stack: AsyncExitStack, pk: int) -> Browser:
    """A browser at the first of the servers, with this user logged in."""
    browser = Browser(site.servers[0].port)
    stack.callback(browser.close)
    await browser.do("session", "login", pk)
    return browser


async def streams_of(
    site: SessionSite, stack: AsyncExitStack, browser: Browser, pk: int
) -> list[Stream]:
    return await opened(site, stack, f"user.{pk}", Cookie=browser.cookie)


async def ended(streams: list[Stream]) -> set[str]:
    """The reasons with which all the streams end in time."""
    return await reasons(streams)


async def refused(site: SessionSite, pk: int, cookie: str) -> bool:
    """Whether every server refuses a stream with this cookie, although its browser has left it."""
    answers = [
        await asyncio.to_thread(server.get, f"/events/?topic=user.{pk}", Cookie=cookie)
        for server in site.servers
    ]
    return all(status in {401, 403} for status, _ in answers)


async def go_on(site: SessionSite, streams: list[Stream], pk: int) -> None:
    """The streams are open, and are still open when a permission's end would have ended them."""
    topic = f"user.{pk}"
    await asyncio.to_thread(site.servers[0].publish, {"topic": topic, "data": "still"})
    for stream in streams:
        assert (await stream.next_event()).data == "still"
    more = [asyncio.ensure_future(stream.next_event()) for stream in streams]
    done, waiting = await asyncio.wait(more, timeout=PROMISED_SECONDS)
    for task in waiting:
        task.cancel()
    assert not done, [task.result() for task in done]


async def order_recheck(site: SessionSite, pk: int) -> None:
    await asyncio.to_thread(site.shell, f"recheck(user={pk})")


# Logging out


@pytest.mark.parametrize("way", ["session/logout", "async/logout", "session/flush"])
async def test_streams_end_with_the_session_and_its_cookie_opens_no_more(
    site: SessionSite, stack: AsyncExitStack, way: str
) -> None:
    pk = site.make_user()
    browser = await browser_of(site, stack, pk)
    other = await browser_of(site, stack, pk)
    mine = await streams_of(site, stack, browser, pk)
    theirs = await streams_of(site, stack, other, pk)
    cookie = browser.cookie
    await browser.do(way)
    assert await ended(mine) == {"signed_out"}
    assert await refused(site, pk, cookie)
    await browser.do(way)  # a second tab logs out as well
    await go_on(site, theirs, pk)


@pytest.mark.parametrize("way", ["delete", "clear", "forget-user"])
async def test_streams_end_when_the_user_is_taken_out_of_the_session(
    site: SessionSite, stack: AsyncExitStack, way: str
) -> None:
    pk = site.make_user()
    browser = await browser_of(site, stack, pk)
    await browser.do("session", "write", "something")
    mine = await streams_of(site, stack, browser, pk)
    await asyncio.to_thread(post_anyhow, browser, f"/session/{way}/")
    assert await ended(mine) == {"signed_out"}


def post_anyhow(browser: Browser, path: str) -> None:
    """Some engines answer 400 where a session that is gone was changed in the same request."""
    browser._client.post(path)


async def test_streams_end_with_a_log_out_after_the_key_has_changed(
    site: SessionSite, stack: AsyncExitStack
) -> None:
    pk = site.make_user()
    browser = await browser_of(site, stack, pk)
    early = await streams_of(site, stack, browser, pk)
    await browser.do("session", "write", "something")
    await browser.do("session", "cycle")
    await order_recheck(site, pk)
    await go_on(site, early, pk)
    late = await streams_of(site, stack, browser, pk)
    await browser.do("session", "write", "more")
    await browser.do("session", "logout")
    assert await ended([*late]) == {"signed_out"}
    again = await browser_of(site, stack, pk)
    streams = await streams_of(site, stack, again, pk)
    await again.do("session", "cycle")
    await again.do("session", "cycle")
    await again.do("session", "logout")
    assert await ended(streams) == {"signed_out"}


# Rows


@pytest.mark.parametrize("site", WITH_ROWS, indirect=True)
async def test_streams_end_with_the_row_of_their_session(
    site: SessionSite, stack: AsyncExitStack
) -> None:
    sessions = site.sessions
    pk = site.make_user()
    for deletion in (
        "Session.objects.get(session_key=key).delete()",
        "Session.objects.filter(session_key=key).delete()",
    ):
        browser = await browser_of(site, stack, pk)
        kept = await browser_of(site, stack, pk)
        mine = await streams_of(site, stack, browser, pk)
        others = await streams_of(site, stack, kept, pk)
        key = browser._client.cookies["sessionid"]
        await asyncio.to_thread(site.shell, f"{sessions}key = {key!r}; {deletion}")
        assert await ended(mine) == {"signed_out"}
        assert await refused(site, pk, browser.cookie)
        await go_on(site, others, pk)


@pytest.mark.parametrize("site", WITH_ROWS, indirect=True)
async def test_clearing_expired_sessions_ends_their_streams(
    site: SessionSite, stack: AsyncExitStack
) -> None:
    sessions = site.sessions
    pk = site.make_user()
    browser = await browser_of(site, stack, pk)
    kept = await browser_of(site, stack, pk)
    mine = await streams_of(site, stack, browser, pk)
    others = await streams_of(site, stack, kept, pk)
    key = browser._client.cookies["sessionid"]
    await asyncio.to_thread(
        site.shell,
        f"{sessions}import datetime; from django.utils import timezone; "
        f"Session.objects.filter(session_key={key!r}).update("
        "expire_date=timezone.now() - datetime.timedelta(seconds=5)); "
        "call_command('clearsessions')",
    )
    assert await ended(mine) == {"signed_out"}
    await go_on(site, others, pk)


async def test_streams_end_when_code_deletes_the_session_by_its_key(
    site: SessionSite, stack: AsyncExitStack
) -> None:
    pk = site.make_user()
    browser = await browser_of(site, stack, pk)
    mine = await streams_of(site, stack, browser, pk)
    key = browser._client.cookies["sessionid"]
    await asyncio.to_thread(
        site.shell,
        "from importlib import import_module; from django.conf import settings; "
        f"import_module(settings.SESSION_ENGINE).SessionStore(session_key={key!r}).delete()",
    )
    assert await ended(mine) == {"signed_out"}


# Another person, another password


async def test_streams_end_when_another_person_logs_in_in_the_same_browser(
    site: SessionSite, stack: AsyncExitStack
) -> None:
    ada, bob = site.make_user(), site.make_user()
    browser = await browser_of(site, stack, ada)
    mine = await streams_of(site, stack, browser, ada)
    cookie = browser.cookie
    await browser.do("session", "login", bob)
    assert await ended(mine) == {"signed_out"}
    assert await refused(site, ada, browser.cookie)
    assert await refused(site, ada, cookie)
    await go_on(site, await streams_of(site, stack, browser, bob), bob)


async def test_logging_in_again_as_the_same_person_ends_nothing(
    site: SessionSite, stack: AsyncExitStack
) -> None:
    pk = site.make_user()
    browser = await browser_of(site, stack, pk)
    mine = await streams_of(site, stack, browser, pk)
    await browser.do("session", "login", pk)
    await order_recheck(site, pk)
    await go_on(site, mine, pk)
    await browser.do("session", "logout")
    assert await refused(site, pk, browser.cookie)


async def test_a_new_password_ends_the_streams_of_other_browsers_and_not_of_this_one(
    site: SessionSite, stack: AsyncExitStack
) -> None:
    pk = site.make_user()
    browser, elsewhere = [await browser_of(site, stack, pk) for _ in range(2)]
    mine = await streams_of(site, stack, browser, pk)
    others = await streams_of(site, stack, elsewhere, pk)
    await browser.do("session", "password", "another")
    assert await ended(others) == {"permission_ended"}
    await order_recheck(site, pk)
    await go_on(site, mine, pk)
    # The next one too is followed, and so is the end.
    mine = await streams_of(site, stack, browser, pk)
    await browser.do("session", "password", "a third")
    with within(2 * PROMISED_SECONDS):
        await browser.do("session", "logout")
        assert await ended(mine) == {"signed_out"}


# Impersonation


async def test_hijacking_a_user_and_releasing_them(
    site: SessionSite, stack: AsyncExitStack
) -> None:
    admin, bob = site.make_user(is_superuser=True, is_staff=True), site.make_user()
    browser = await browser_of(site, stack, admin)
    own = await streams_of(site, stack, browser, admin)
    await browser.do("hijack", "acquire", user_pk=bob)
    assert await ended(own) == {"signed_out"}
    as_bob = await streams_of(site, stack, browser, bob)
    await order_recheck(site, bob)
    await go_on(site, as_bob, bob)
    as_bob = await streams_of(site, stack, browser, bob)
    await browser.do("hijack", "release")
    assert await ended(as_bob) == {"signed_out"}
    assert await refused(site, bob, browser.cookie)
    await go_on(site, await streams_of(site, stack, browser, admin), admin)


async def impersonating(
    site: SessionSite, stack: AsyncExitStack, way: str
) -> tuple[int, int, Browser, list[Stream]]:
    """The administrator, the other user, the browser, and the streams of the other user there."""
    admin, bob = site.make_user(is_superuser=True, is_staff=True), site.make_user()
    browser = await browser_of(site, stack, admin)
    if way == "impersonate":
        await browser.get("impersonate", bob)
    else:
        await browser.do("session", "act-as", bob)
    return admin, bob, browser, await streams_of(site, stack, browser, bob)


WAYS = pytest.mark.parametrize("way", ["impersonate", "act-as"])


@WAYS
async def test_an_impersonation_that_goes_on_passes_each_recheck(
    site: SessionSite, stack: AsyncExitStack, way: str
) -> None:
    admin, bob, browser, streams = await impersonating(site, stack, way)
    await order_recheck(site, bob)
    await order_recheck(site, admin)
    await browser.do("session", "write", "something")
    await go_on(site, streams, bob)


@WAYS
async def test_streams_end_with_the_impersonation(
    site: SessionSite, stack: AsyncExitStack, way: str
) -> None:
    _, bob, browser, streams = await impersonating(site, stack, way)
    if way == "impersonate":
        await browser.get("impersonate", "stop")
    else:
        await browser.do("session", "stop-acting")
    assert await ended(streams) == {"permission_ended"}
    assert await refused(site, bob, browser.cookie)


@WAYS
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("user = User.objects.get(pk=%(admin)s); user.is_active = False; user.save()", None),
        (
            "user = User.objects.get(pk=%(admin)s); user.is_staff = user.is_superuser = False; "
            "user.save()",
            None,
        ),
        ("user = User.objects.get(pk=%(admin)s); user.set_password('x'); user.save()", None),
        ("user = User.objects.get(pk=%(bob)s); user.is_active = False; user.save()", None),
        ("User.objects.get(pk=%(bob)s).delete()", None),
        ("", "signed_out"),
    ],
)
async def test_streams_end_with_what_the_impersonation_needs(
    site: SessionSite, stack: AsyncExitStack, way: str, change: str, reason: str | None
) -> None:
    admin, bob, browser, streams = await impersonating(site, stack, way)
    if change:
        await asyncio.to_thread(site.shell, change % {"admin": admin, "bob": bob})
    else:
        await browser.do("session", "logout")
    assert await ended(streams) == {reason or "permission_ended"}


async def test_a_user_of_a_header_passes_a_recheck_until_they_are_deactivated(
    site: SessionSite, stack: AsyncExitStack
) -> None:
    pk = site.make_user()
    path = {"X-User": str(pk)}
    streams = await opened(site, stack, f"user.{pk}", **path)
    await order_recheck(site, pk)
    await go_on(site, streams, pk)
    streams = await opened(site, stack, f"user.{pk}", **path)
    change = f"user = User.objects.get(pk={pk}); user.is_active = False; user.save()"
    await asyncio.to_thread(site.shell, change)
    assert await ended(streams) == {"permission_ended"}

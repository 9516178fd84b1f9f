"""Requests that wait at the same moment have their users read together, as each would alone."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore
from django.db import DatabaseError, connection
from django.http import HttpRequest
from django.test.utils import CaptureQueriesContext

from notifications.access.identities import session_crowd, session_queries
from notifications.access.identities.session_crowd import (
    MAX_ITERATIONS,
    MAX_READING,
    MAX_REQUESTS_AT_ONCE,
    Crowd,
)
from notifications.asgi.request_thread import RequestThread, shared_pool
from notifications.asgi.threads import ThreadPool
from tests.unit.access.identities.test_session_queries import (
    BACKEND,
    CHANGES,
    as_django,
    log_in,
    request_of,
)

DEADLINE_SECONDS = 60.0
NAMES = ("ada", "bob", "eve")


@pytest.fixture
def two_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_queries, "MANY_REQUESTS", 2)


def together(requests: Sequence[HttpRequest]) -> list[bool]:
    assert all(map(session_queries.is_djangos, requests))
    return session_queries.read_users([(request, copy_context()) for request in requests])


# What is read


@pytest.mark.usefixtures("two_are_many")
@pytest.mark.django_db
def test_many_take_two_queries_and_each_has_its_own_user() -> None:
    logins = [log_in(name) for name in NAMES]
    requests = [request_of(key) for _, key in logins]
    with CaptureQueriesContext(connection) as queries:
        assert together(requests) == [True, True, True]
        assert [request.user.pk for request in requests] == [user.pk for user, _ in logins]
    assert len(queries) == 2
    with CaptureQueriesContext(connection) as queries:
        together([request_of(key) for _, key in logins])
        session_queries.read_user(request_of(logins[0][1]))
    assert len(queries) == 4  # what was read for others is not read from there again


@pytest.mark.usefixtures("two_are_many")
@pytest.mark.django_db
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_the_answer_is_djangos(change: Callable[[User, str], None], settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", BACKEND]
    User.objects.create(username="grace")
    user, key = log_in()
    _, sound_key = log_in("bob")
    change(user, key)
    requests = [request_of(key), request_of(sound_key)]
    is_read, is_sound_read = together(requests)
    assert is_sound_read
    assert is_read == (change is CHANGES["stay"])
    session_queries.read_user(requests[0])  # as a request does that has to read it by itself
    answer = requests[0].user.pk, requests[0].session.session_key, dict(requests[0].session.items())
    assert answer == as_django(key)


@pytest.mark.django_db
@pytest.mark.parametrize(("many", "answers"), [(2, [True, False]), (3, [True, True])])
def test_requests_of_one_user_share_no_instance(
    many: int, answers: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_queries, "MANY_REQUESTS", many)
    user, key = log_in()
    requests = [request_of(key), request_of(key)]
    assert together(requests) == answers
    for request in requests:
        session_queries.read_user(request)
        assert request.user.pk == user.pk
    first, second = (request._cached_user for request in requests)  # type: ignore[attr-defined]
    assert first is not second


@pytest.mark.django_db
@pytest.mark.parametrize("many", [2, 5])
def test_each_is_read_in_its_own_context(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_queries, "MANY_REQUESTS", many)
    names, seen = ContextVar("names", default=""), dict[str, str]()
    auth_hash = User.get_session_auth_hash

    def noted(self: User) -> str:
        seen[self.username] = names.get()
        return auth_hash(self)

    requests = list[tuple[HttpRequest, Context]]()
    for name in NAMES:
        _, key = log_in(name)
        context = copy_context()
        context.run(names.set, name)
        requests.append((request_of(key), context))
    monkeypatch.setattr(User, "get_session_auth_hash", noted)
    assert all(session_queries.read_users(requests))
    assert seen == dict(zip(NAMES, NAMES, strict=True))


def unread(request: HttpRequest) -> None:
    """It is as Django's middleware has left it."""


def user_of_another(request: HttpRequest) -> None:
    request.user = User(username="grace")


def read_session(request: HttpRequest) -> None:
    request.session.get("x")


def read_user(request: HttpRequest) -> None:
    assert request.user.is_authenticated


def no_session(request: HttpRequest) -> None:
    del request.session


def no_key(request: HttpRequest) -> None:
    request.session = type(request.session)()


def session_in_a_cookie(request: HttpRequest) -> None:
    request.session = CookieStore(request.session.session_key)


def store_of_its_own(request: HttpRequest) -> None:
    class Store(type(request.session)):  # type: ignore[misc]
        pass

    request.session = Store(request.session.session_key)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "prepare",
    [
        unread,
        user_of_another,
        read_session,
        read_user,
        no_session,
        no_key,
        session_in_a_cookie,
        store_of_its_own,
    ],
)
def test_what_is_not_as_django_leaves_it_is_read_alone(
    prepare: Callable[[HttpRequest], None],
) -> None:
    _, key = log_in()
    request = request_of(key)
    prepare(request)
    assert session_queries.is_djangos(request) == (prepare is unread)


# Who waits with whom


class Reader:
    """Stands in for the queries. Until it is let go on, each batch waits in its thread."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._begun = threading.Semaphore(0)
        self.is_free = threading.Event()
        self.is_free.set()
        self.error: Exception | None = None

    def __call__(self, requests: Sequence[tuple[HttpRequest, Context]]) -> list[bool]:
        self.sizes.append(len(requests))
        self._begun.release()
        assert self.is_free.wait(DEADLINE_SECONDS)
        if self.error is not None:
            raise self.error
        return [True] * len(requests)

    async def begun(self) -> None:
        """Wait until another batch is being read."""
        assert await asyncio.to_thread(self._begun.acquire, timeout=DEADLINE_SECONDS)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    reader = Reader()
    monkeypatch.setattr(session_queries, "read_users", reader)
    yield reader
    reader.is_free.set()


class Scene:
    def __init__(self) -> None:
        self.crowd, self.pool = Crowd(), ThreadPool()

    def come(self, count: int = 1) -> list[asyncio.Task[bool]]:
        return [
            asyncio.create_task(self.crowd.read(HttpRequest(), self.pool)) for _ in range(count)
        ]


async def answered(tasks: Sequence[asyncio.Task[bool]]) -> list[bool]:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await asyncio.gather(*tasks)


async def test_one_alone_waits_for_nobody(reader: Reader) -> None:
    scene = Scene()
    for _ in range(3):
        assert await answered(scene.come()) == [True]
    assert reader.sizes == [1, 1, 1]


async def test_those_that_come_one_after_the_other_go_together(reader: Reader) -> None:
    scene, tasks = Scene(), list[asyncio.Task[bool]]()
    for _ in range(5):
        tasks += scene.come(2)
        await asyncio.sleep(0)
    assert await answered(tasks) == [True] * 10
    assert reader.sizes == [10]


async def test_nobody_waits_for_ever_for_those_that_still_come(reader: Reader) -> None:
    scene, tasks = Scene(), list[asyncio.Task[bool]]()
    while not reader.sizes:
        tasks += scene.come(2)
        await asyncio.sleep(0)
    assert reader.sizes[0] < MAX_REQUESTS_AT_ONCE / 2
    assert all(await answered(tasks))


async def test_a_batch_has_a_limit_and_what_comes_meanwhile_is_the_next(reader: Reader) -> None:
    scene = Scene()
    reader.is_free.clear()
    tasks = scene.come(MAX_REQUESTS_AT_ONCE + 1)
    await reader.begun()
    tasks += scene.come(3)
    reader.is_free.set()
    assert all(await answered(tasks))
    assert reader.sizes[0] == MAX_REQUESTS_AT_ONCE
    assert sum(reader.sizes) == MAX_REQUESTS_AT_ONCE + 4
    assert len(reader.sizes) == 2


async def test_one_that_gives_up_takes_nobody_along(reader: Reader) -> None:
    scene = Scene()
    reader.is_free.clear()
    gone, *others = scene.come(3)
    await reader.begun()
    gone.cancel()
    reader.is_free.set()
    assert await answered(others) == [True, True]
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_after_an_error_each_reads_by_itself_and_the_next_together(reader: Reader) -> None:
    scene = Scene()
    reader.error = DatabaseError("The database is away.")
    assert await answered(scene.come(2)) == [False, False]
    reader.error = None
    assert await answered(scene.come(2)) == [True, True]


async def test_without_a_thread_each_finds_that_out_by_itself(reader: Reader) -> None:
    scene = Scene()
    scene.pool = ThreadPool(max_threads=0, max_waiting=0)
    assert await answered(scene.come(2)) == [False, False]
    assert reader.sizes == []


async def test_while_one_batch_is_read_others_wait(reader: Reader) -> None:
    scene = Scene()
    reader.is_free.clear()
    tasks = scene.come()
    await reader.begun()
    tasks += scene.come(2)
    for _ in range(MAX_ITERATIONS):
        await asyncio.sleep(0)
    assert reader.sizes == [1]
    reader.is_free.set()
    assert all(await answered(tasks))
    assert reader.sizes == [1, 2]


async def test_a_database_that_does_not_answer_one_batch_may_answer_others(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_crowd, "SLOW_SECONDS", -1.0)
    scene, tasks = Scene(), list[asyncio.Task[bool]]()
    reader.is_free.clear()
    for _ in range(MAX_READING):
        tasks += scene.come()
        await reader.begun()
    for _ in range(3):
        tasks += scene.come()
        for _ in range(MAX_ITERATIONS):
            await asyncio.sleep(0)
    reader.is_free.set()
    assert all(await answered(tasks))
    assert reader.sizes == [*[1] * MAX_READING, 3]


# Which requests may


@pytest.mark.django_db
async def test_a_request_that_keeps_its_thread_is_read_there(settings: Any) -> None:
    assert shared_pool() is None
    pool = ThreadPool()
    with RequestThread(pool, keep_thread=True):
        assert shared_pool() is None
    with RequestThread(pool) as thread:
        assert shared_pool() is pool
        thread.leave_pool()
        assert shared_pool() is None


@pytest.mark.parametrize("setting", ["NAMESPACE", "DATABASE_ROUTERS", ""])
def test_what_depends_on_more_than_the_key_is_read_alone(
    reader: Reader, settings: Any, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_queries, "is_djangos", lambda _: True)
    if setting == "NAMESPACE":
        settings.CARILLON = {
            **settings.CARILLON,
            "NAMESPACE": "tests.harness.tenancy.ContextTenancy",
        }
    elif setting:
        settings.DATABASE_ROUTERS = [f"{__name__}.Router"]

    async def is_read() -> bool:
        with RequestThread(ThreadPool()):
            return await session_crowd.read_user(HttpRequest())

    assert asyncio.run(is_read()) == (not setting)
    assert reader.sizes == [1] * (not setting)


class Router:
    """Reads come from a replica."""

    def db_for_read(self, model: object, **_: object) -> str:
        return "default"

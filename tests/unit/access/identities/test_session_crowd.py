"""Requests that wait at the same moment have their users read together, as each would alone."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from time import monotonic
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import backends
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends import base as sessions
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore
from django.contrib.sessions.models import Session
from django.core.signing import JSONSerializer
from django.db import DatabaseError, connection, connections
from django.db.backends.signals import connection_created
from django.db.models import CharField, Manager
from django.db.models.signals import post_init
from django.http import HttpRequest
from django.test.utils import CaptureQueriesContext

from notifications.access.identities import (
    session,
    session_crowd,
    session_queries,
    sessions_together,
)
from notifications.access.identities.session_crowd import (
    MANY_REQUESTS,
    MAX_ITERATIONS,
    MAX_REQUESTS_AT_ONCE,
    Crowd,
)
from notifications.access.identities.sessions_together import Found
from notifications.access.session_store import LOADED, observe
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


# What is read


def together(requests: Sequence[HttpRequest]) -> list[bool]:
    """Whether each has its user by what is read for all."""
    assert all(map(sessions_together.is_djangos, requests))
    found = sessions_together.read_together([each.session.session_key or "" for each in requests])
    answers = []
    for request in requests:
        mine = found.pop(request.session.session_key or "", None)
        if mine is not None:
            sessions_together.use(request, mine)
        answers.append(mine is not None)
    return answers


@pytest.mark.django_db
def test_many_take_two_queries_and_each_has_its_own_user() -> None:
    logins = [log_in(name) for name in NAMES]
    requests = [request_of(key) for _, key in logins]
    with CaptureQueriesContext(connection) as queries:
        assert together(requests) == [True, True, True]
        assert [request.user.pk for request in requests] == [user.pk for user, _ in logins]
    assert len(queries) == 2
    for request, (_, key) in zip(requests, logins, strict=True):
        assert dict(request.session.items()) == as_django(key)[2]
        alone = request_of(key)
        session_queries.read_user(alone)
        assert vars(alone.session).keys() == vars(request.session).keys()
        assert getattr(request.session, LOADED) == getattr(alone.session, LOADED)


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
    assert is_read or sessions_together.is_djangos(requests[0])  # it is as if nobody had read it
    session_queries.read_user(requests[0])
    answer = requests[0].user.pk, requests[0].session.session_key, dict(requests[0].session.items())
    assert answer == as_django(key)


@pytest.mark.django_db
def test_what_was_read_of_one_session_is_for_one_request() -> None:
    user, key = log_in()
    requests = [request_of(key), request_of(key)]
    assert together(requests) == [True, False]
    session_queries.read_user(requests[1])
    first, second = (request._cached_user for request in requests)  # type: ignore[attr-defined]
    assert first == second == user
    assert first is not second


@pytest.mark.django_db
def test_of_two_sessions_of_a_user_one_is_read_alone() -> None:
    user, key = log_in()
    other = SessionStore()
    other.update(dict(SessionStore(key).items()))
    other.save()
    found = sessions_together.read_together([key, other.session_key or ""])
    assert [each.user for each in found.values()] == [user]


class Careful(ModelBackend):
    """It asks more of a user than Django does, by a session of somebody else."""

    def user_can_authenticate(self, user: Any) -> bool:
        return bool(SessionStore(user.first_name).items())


@pytest.mark.django_db
def test_a_backend_that_decides_by_itself_is_asked_alone(settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.Careful"]
    _, partner = log_in("bob")
    user, key = log_in()
    User.objects.filter(pk=user.pk).update(first_name=partner)
    stored = SessionStore(key)
    stored["_auth_user_backend"] = f"{__name__}.Careful"
    stored.save()
    assert sessions_together.read_together([key]) == {}
    request = request_of(key)
    session_queries.read_user(request)
    assert request.user == user


@pytest.mark.django_db
def test_where_a_query_is_watched_each_is_read_alone() -> None:
    """What watches it may decide by the request which rows there are."""
    _, key = log_in()

    def watch(execute: Any, *arguments: Any) -> Any:
        return execute(*arguments)

    with connection.execute_wrapper(watch):
        assert sessions_together.read_together([key]) == {}
    assert sessions_together.read_together([key]).keys() == {key}


@pytest.mark.django_db(transaction=True)
def test_what_comes_with_a_connection_watches_its_first_query_too() -> None:
    _, key = log_in()
    watched = list[str]()

    def watch(execute: Any, sql: str, *arguments: Any) -> Any:
        watched.append(sql)
        return execute(sql, *arguments)

    def install(connection: Any, **_: Any) -> None:
        connection.execute_wrappers.append(watch)

    def read() -> dict[str, Found]:
        try:
            return sessions_together.read_together([key])
        finally:
            # Django closes no connection to a database in memory.
            connection.connection.close()

    connection_created.connect(install)
    try:
        with ThreadPoolExecutor(1) as new_thread:
            assert new_thread.submit(read).result() == {}
    finally:
        connection_created.disconnect(install)
    assert watched == []


@pytest.mark.django_db
def test_a_manager_is_asked_for_its_query_set_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Django's own `get` asks it."""
    _, key = log_in()

    def hide(*_: Any, **__: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(type(User.objects), "in_bulk", hide)
    monkeypatch.setattr(type(Session.objects), "filter", hide)
    assert sessions_together.read_together([key]).keys() == {key}


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


def key_of_nobody(request: HttpRequest) -> None:
    """PostgreSQL would refuse the query for all."""
    request.session = type(request.session)("abcdefgh\0" + "x" * 23)


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
    assert sessions_together.is_djangos(request) == (prepare is unread)


async def test_to_look_at_a_request_makes_no_connection_on_the_event_loop() -> None:
    """Each request would make its own there, in cycles, and never use it."""
    assert sessions_together.is_djangos(request_of("0" * 32))
    assert connections.all(initialized_only=True) == []


def test_a_copy_of_a_request_is_read_alone() -> None:
    """Its `user` is that of the first request, which nobody would have read."""
    assert not sessions_together.is_djangos(copy(request_of("0" * 32)))


@pytest.fixture
def attributes_looked_at_anew() -> Iterator[None]:
    yield
    sessions_together._has_djangos_attributes.cache_clear()


def own_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(User, "get_session_auth_hash", lambda _: "")


def own_from_db(monkeypatch: pytest.MonkeyPatch) -> None:
    from_db = User.from_db.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(User, "from_db", classmethod(lambda *values: from_db(*values)))


def own_is_active(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(User, "is_active", property(lambda _: True))


def own_converter(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sealed(CharField):  # type: ignore[type-arg]
        def from_db_value(self, value: str, *_: Any) -> str:
            return value

    monkeypatch.setattr(User._meta.get_field("first_name"), "__class__", Sealed)


def own_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(User, "first_name", property(str, lambda *_: None))


def own_setattr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(User, "__setattr__", lambda *values: object.__setattr__(*values))


def own_serializer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Serializer(JSONSerializer):
        pass

    monkeypatch.setattr(sessions, "import_string", lambda _: Serializer)


def own_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SessionStore, "decode", lambda *_: {})


def plain_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without `get_session_auth_hash`: Django asks it for none."""
    monkeypatch.setattr(backends, "UserModel", Group)


def static_from_db(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(User, "from_db", staticmethod(lambda *values: User(*values[2])))


def own_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    class Users(Manager[User]):
        def get_queryset(self) -> Any:
            return super().get_queryset().none()

    users = Users()
    users.model = User
    monkeypatch.setattr(User._meta, "default_manager", users)


def own_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_init, "has_listeners", lambda sender: sender is User)


def own_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ENGINE", "site.backend")


def nobody_observes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SessionStore, "load", SessionStore.load.__wrapped__)  # type: ignore[attr-defined]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "prepare",
    [
        *(own_hash, own_is_active, own_from_db, own_converter, own_descriptor, own_setattr),
        *(plain_model, static_from_db),
        *(own_serializer, own_decoding, own_manager, own_signal, own_engine, nobody_observes),
    ],
)
@pytest.mark.usefixtures("attributes_looked_at_anew")
def test_what_the_site_has_written_is_called_for_each_alone(
    prepare: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    observe(SessionStore)
    _, key = log_in()
    assert sessions_together.is_djangos(request_of(key))
    prepare(monkeypatch)
    sessions_together._has_djangos_attributes.cache_clear()
    assert not sessions_together.is_djangos(request_of(key))


# Who waits with whom


class Reader:
    """Stands in for the queries. Until it is let go on, each batch waits in its thread."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._begun = threading.Semaphore(0)
        self.is_free = threading.Event()
        self.is_free.set()
        self.error: Exception | None = None

    def __call__(self, keys: Collection[str]) -> dict[str, Found]:
        self.sizes.append(len(keys))
        self._begun.release()
        assert self.is_free.wait(DEADLINE_SECONDS)
        if self.error is not None:
            raise self.error
        return {key: Found({"key": key}, None) for key in keys}

    async def begun(self) -> None:
        """Wait until another batch is being read."""
        assert await asyncio.to_thread(self._begun.acquire, timeout=DEADLINE_SECONDS)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    reader = Reader()
    monkeypatch.setattr(sessions_together, "read_together", reader)
    yield reader
    reader.is_free.set()


class Scene:
    def __init__(self) -> None:
        self.crowd, self.pool, self._count = Crowd(), ThreadPool(), 0

    def come(self, count: int = 1, key: str = "") -> list[asyncio.Task[Found | None]]:
        """So many, each with a key of its own."""
        tasks = []
        for _ in range(count):
            self._count += 1
            asked = key or str(self._count)
            tasks.append(asyncio.create_task(self.crowd.find(asked, self.pool)))
        return tasks


async def answered(tasks: Sequence[asyncio.Task[Found | None]]) -> list[Found | None]:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await asyncio.gather(*tasks)


async def iterate() -> None:
    for _ in range(2 * MAX_ITERATIONS):
        await asyncio.sleep(0)


async def test_few_are_read_alone_and_at_once(reader: Reader) -> None:
    scene = Scene()
    assert await answered(scene.come()) == [None]
    assert await answered(scene.come(MANY_REQUESTS - 1)) == [None] * (MANY_REQUESTS - 1)
    assert reader.sizes == []


async def test_those_that_come_one_after_the_other_go_together(reader: Reader) -> None:
    scene, tasks = Scene(), list[asyncio.Task[Found | None]]()
    for _ in range(5):
        tasks += scene.come(2)
        await asyncio.sleep(0)
    found = await answered(tasks)
    assert [each and each.data["key"] for each in found] == [str(n + 1) for n in range(10)]
    assert reader.sizes == [10]


async def test_what_was_found_of_a_key_is_given_once(reader: Reader) -> None:
    scene = Scene()
    found = await answered([*scene.come(5), *scene.come(2, key="1")])
    assert [each is not None for each in found] == [*[True] * 5, False, False]
    assert reader.sizes == [5]


async def test_nobody_waits_for_ever_for_those_that_still_come(reader: Reader) -> None:
    scene, tasks = Scene(), list[asyncio.Task[Found | None]]()
    while not reader.sizes:
        tasks += scene.come(2)
        await asyncio.sleep(0)
    assert reader.sizes[0] < MAX_REQUESTS_AT_ONCE / 2
    await answered(tasks)


async def test_nobody_waits_for_long_where_an_iteration_takes_long(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_crowd, "GATHER_SECONDS", 0.0)
    scene = Scene()
    tasks = scene.come(MANY_REQUESTS)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks += scene.come(MANY_REQUESTS)
    await answered(tasks)
    assert reader.sizes[0] == MANY_REQUESTS


async def test_a_batch_has_a_limit_and_what_comes_meanwhile_is_the_next(reader: Reader) -> None:
    scene = Scene()
    reader.is_free.clear()
    tasks = scene.come(MAX_REQUESTS_AT_ONCE + 3)
    await reader.begun()
    tasks += scene.come(4)
    await iterate()
    assert reader.sizes == [MAX_REQUESTS_AT_ONCE]
    reader.is_free.set()
    assert None not in await answered(tasks)
    assert reader.sizes == [MAX_REQUESTS_AT_ONCE, 7]


async def test_those_that_give_up_are_not_read_and_take_nobody_along(reader: Reader) -> None:
    scene = Scene()
    reader.is_free.clear()
    tasks = scene.come(MANY_REQUESTS)
    await reader.begun()
    gone = [tasks.pop(0), *scene.come(MAX_REQUESTS_AT_ONCE)]
    tasks += scene.come(MANY_REQUESTS)
    await iterate()
    for each in gone:
        each.cancel()
    await asyncio.wait(gone)
    reader.is_free.set()
    assert None not in await answered(tasks)
    assert reader.sizes == [MANY_REQUESTS] * 2


async def test_a_batch_that_comes_to_its_thread_too_late_is_not_read(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a database has hung, the living do not wait for those that have given up."""
    monkeypatch.setattr(session_crowd, "SLOW_SECONDS", 0.01)
    scene = Scene()
    scene.pool = ThreadPool(max_threads=1)
    reader.is_free.clear()
    tasks = scene.come(MANY_REQUESTS)
    await reader.begun()
    gone = scene.come(MANY_REQUESTS)
    await iterate()
    while scene.crowd._waiting:  # noqa: ASYNC110 - until they wait for the thread
        await asyncio.sleep(0)
    for each in gone:
        each.cancel()
    await asyncio.wait(gone)
    reader.is_free.set()
    tasks += scene.come(MANY_REQUESTS)
    assert None not in await answered(tasks)
    assert reader.sizes == [MANY_REQUESTS] * 2


async def test_after_an_error_each_reads_by_itself_and_the_next_together(reader: Reader) -> None:
    scene = Scene()
    reader.error = DatabaseError("The database is away.")
    assert await answered(scene.come(MANY_REQUESTS)) == [None] * MANY_REQUESTS
    reader.error = None
    assert None not in await answered(scene.come(MANY_REQUESTS))


async def test_without_a_thread_each_finds_that_out_by_itself(reader: Reader) -> None:
    scene = Scene()
    scene.pool = ThreadPool(max_threads=0, max_waiting=0)
    count = 2 * MAX_REQUESTS_AT_ONCE
    assert await answered(scene.come(count)) == [None] * count
    assert reader.sizes == []


async def test_too_many_do_not_wait(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_crowd, "MAX_WAITING", MANY_REQUESTS)
    found = await answered(Scene().come(2 * MANY_REQUESTS))
    assert [each is not None for each in found] == [True] * MANY_REQUESTS + [False] * MANY_REQUESTS


async def test_behind_a_batch_without_an_answer_nobody_waits_for_long(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_crowd, "SLOW_SECONDS", 0.01)
    scene = Scene()
    reader.is_free.clear()
    tasks = scene.come(MANY_REQUESTS)
    await reader.begun()
    tasks += scene.come(MANY_REQUESTS)
    await reader.begun()
    few = scene.come()
    assert await answered(few) == [None]
    reader.is_free.set()
    assert None not in await answered(tasks)


def test_a_loop_that_ends_is_not_kept(reader: Reader) -> None:
    reader.is_free.clear()
    loops = list[weakref.ref[asyncio.AbstractEventLoop]]()

    async def leave() -> None:
        loop = asyncio.get_running_loop()
        loops.append(weakref.ref(loop))
        crowd = session_crowd._crowds.setdefault(loop, Crowd())
        tasks = [
            asyncio.create_task(crowd.find(str(n), ThreadPool())) for n in range(2 * MANY_REQUESTS)
        ]
        await reader.begun()
        tasks.append(asyncio.create_task(crowd.find("late", ThreadPool())))
        await asyncio.sleep(0)

    asyncio.run(leave())
    reader.is_free.set()
    until = monotonic() + DEADLINE_SECONDS
    while loops[0]() is not None:  # the thread that reads still ends its call
        assert monotonic() < until
        gc.collect()


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


async def test_what_waits_in_a_thread_is_read_in_that_thread() -> None:
    """There may be a transaction, and all threads of the pool may wait like this."""

    async def pool_there() -> ThreadPool | None:
        return shared_pool()

    pool = ThreadPool()
    with RequestThread(pool):
        assert await sync_to_async(lambda: async_to_sync(pool_there)())() is None
        assert shared_pool() is pool


@pytest.mark.parametrize("setting", ["NAMESPACE", "DATABASE_ROUTERS", ""])
def test_what_depends_on_more_than_the_key_is_read_alone(
    reader: Reader, settings: Any, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_together, "is_djangos", lambda _: True)
    monkeypatch.setattr(sessions_together, "use", lambda *_: None)
    if setting == "NAMESPACE":
        settings.CARILLON = {
            **settings.CARILLON,
            "NAMESPACE": "tests.harness.tenancy.ContextTenancy",
        }
    elif setting:
        settings.DATABASE_ROUTERS = [f"{__name__}.Router"]

    async def are_read() -> list[bool]:
        with RequestThread(ThreadPool()):
            requests = [request_with(f"{n:032d}") for n in range(MANY_REQUESTS)]
            return await asyncio.gather(*map(session_crowd.read_user, requests))

    assert asyncio.run(are_read()) == [not setting] * MANY_REQUESTS
    assert reader.sizes == [MANY_REQUESTS] * (not setting)


async def test_what_something_else_has_read_meanwhile_stays(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_unread(request: HttpRequest) -> bool:
        return "_session_cache" not in vars(request.session)

    def read(request: HttpRequest) -> None:
        vars(request.session)["_session_cache"] = {"own": True}

    monkeypatch.setattr(sessions_together, "is_djangos", is_unread)
    requests = await requests_that_change(reader, read)
    assert [dict(each.session.items()) for each in requests] == [{"own": True}] * MANY_REQUESTS


async def test_what_was_found_is_for_the_session_that_was_asked_for(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def log_in_again(request: HttpRequest) -> None:
        request.session = SessionStore("z" * 32)

    monkeypatch.setattr(sessions_together, "is_djangos", lambda _: True)
    requests = await requests_that_change(reader, log_in_again)
    assert not any("_session_cache" in vars(each.session) for each in requests)


async def requests_that_change(
    reader: Reader, change: Callable[[HttpRequest], None]
) -> Sequence[HttpRequest]:
    """Requests that change while their sessions are read, and of which none gets what was found."""
    reader.is_free.clear()
    with RequestThread(ThreadPool()):
        requests = [request_with(f"{n:032d}") for n in range(MANY_REQUESTS)]
        tasks = [asyncio.create_task(session_crowd.read_user(each)) for each in requests]
        await reader.begun()
        for each in requests:
            change(each)
        reader.is_free.set()
        assert await asyncio.gather(*tasks) == [False] * MANY_REQUESTS
    return requests


def request_with(key: str) -> HttpRequest:
    request = HttpRequest()
    request.session = SessionStore(key)
    return request


@pytest.mark.django_db(transaction=True)
def test_requests_have_their_users_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    logins = [log_in(f"u{n}") for n in range(2 * MANY_REQUESTS)]
    read, sizes = sessions_together.read_together, list[int]()

    def counted(keys: Collection[str]) -> dict[str, Found]:
        sizes.append(len(keys))
        return read(keys)

    monkeypatch.setattr(sessions_together, "read_together", counted)
    pool = ThreadPool()

    async def name_of(key: str) -> str:
        with RequestThread(pool):
            return (await session.authenticate_session(request_of(key))).name

    async def names() -> list[str]:
        return await asyncio.gather(*(name_of(key) for _, key in logins))

    assert asyncio.run(names()) == [f"user:{user.pk}" for user, _ in logins]
    assert sizes == [len(logins)]


class Router:
    """Reads come from a replica."""

    def db_for_read(self, model: object, **_: object) -> str:
        return "default"

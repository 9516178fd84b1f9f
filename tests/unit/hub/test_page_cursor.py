"""The cursor of a page: as old as its request, from this process's memory or from the log."""

import asyncio
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from django.http import HttpRequest
from django.template import Context, Template
from django.test import AsyncRequestFactory, Client, RequestFactory
from pytest_django import Settings as DjangoSettings

from notifications import acursor, apublish, cursor, publish
from notifications.asgi.start_params import parse_since
from notifications.conf import get_settings
from notifications.hub import page_cursor, runtime
from notifications.hub.grants import Grant
from notifications.log.cursors import Cursor
from notifications.log.factory import open_sync_log
from tests.harness.fakes import FakeTransport
from tests.harness.servers import RedisServer

DEADLINE_SECONDS = 60.0
INTERLEAVINGS = 1_000

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")


def wsgi_request(*, begun: bool = True) -> HttpRequest:
    """A request as a WSGI server makes it, at its beginning."""
    request = RequestFactory().get("/")
    if begun:
        page_cursor.note_start(environ=request.META)
    return request


def rendered(request: HttpRequest | None) -> str:
    template = Template("{% load carillon %}{% carillon_cursor %}")
    return template.render(Context({"request": request} if request else {}))


def position_of(text: str) -> int:
    return Cursor.parse(text).position


async def test_where_the_log_is_followed_the_cursor_is_the_head_at_the_start_of_the_request() -> (
    None
):
    running = runtime.start()
    assert await running.wait_ready(timeout=DEADLINE_SECONDS)
    request = AsyncRequestFactory().get("/")
    page_cursor.note_start(scope=cast("dict[str, Any]", request.scope))
    before = str(running.hub.head)
    await apublish("demo.x", "later")
    async with asyncio.timeout(DEADLINE_SECONDS):
        while str(running.hub.head) == before:  # noqa: ASYNC110 - the hub sets no event
            await asyncio.sleep(0)
    assert await acursor(request) == cursor(request) == rendered(request) == before
    assert await asyncio.to_thread(cursor, request) == before
    # Code that serves no request gets the cursor of now, in a thread too.
    assert await asyncio.to_thread(cursor) == cursor() == rendered(None) == str(running.hub.head)


async def test_from_another_process_the_cursor_is_as_old_as_the_request() -> None:
    earlier = publish("demo.x", "earlier")
    threading.Event().wait(0.05)  # the log's clock counts milliseconds, and the cursor has slack
    request = wsgi_request()
    later = publish("demo.x", "later")
    found = cursor(request)
    assert earlier.cursor
    assert later.cursor
    assert position_of(earlier.cursor) <= position_of(found) < position_of(later.cursor)
    assert await acursor(request) == rendered(request) == found


@pytest.mark.django_db
def test_django_notes_the_start_of_each_request(client: Client) -> None:
    request = client.get("/").wsgi_request
    assert isinstance(request.META["carillon.cursor"], float)


def test_a_request_whose_start_was_not_noted_gets_the_cursor_of_its_first_question() -> None:
    request = wsgi_request(begun=False)
    found = cursor(request)
    publish("demo.x", "later")
    assert cursor(request) == found


def test_in_redis_the_position_is_never_past_what_was_published_since(
    redis: RedisServer, settings: DjangoSettings
) -> None:
    settings.CARILLON = {"REDIS_URL": redis.url}
    request = wsgi_request()
    later = publish("demo.x", "later")
    found = cursor(request)
    assert later.cursor
    assert position_of(found) < position_of(later.cursor)
    with redis.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "blind", "on", ">secret", "~*", "&*", "+@all", "-time"
        )
    settings.CARILLON = {"REDIS_URL": redis.url.replace("//", "//blind:secret@")}
    assert cursor(wsgi_request()) == "", "without the clock of Redis there is no safe position"


async def test_without_redis_there_is_no_cursor_and_only_one_page_waits_for_it(
    settings: DjangoSettings, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CARILLON = {
        "REDIS_URL": f"redis://127.0.0.1:{unused_tcp_port}/0",
        "PUBLISH_TIMEOUT": 0.2,
    }
    request = wsgi_request()
    assert await acursor(request) == ""
    asked = open_sync_log(get_settings())
    monkeypatch.setattr(asked, "state_before", lambda _: pytest.fail("the log was asked again"))
    assert cursor(request) == cursor(wsgi_request()) == ""
    template = Template("{% load carillon %}{% events_url 'demo.x' %}")
    url = template.render(Context({"request": wsgi_request()}))
    assert url.endswith("since=none"), "its stream begins with a reset"
    assert parse_since("none").cursor == ""


# Interleavings


class Shop:
    """A database, of which readers see what is committed; and the events of what was written."""

    def __init__(self, file: Path) -> None:
        self._writer = sqlite3.connect(file, isolation_level=None)
        self._reader = sqlite3.connect(file, isolation_level=None)
        self._writer.execute("PRAGMA journal_mode=WAL")
        self._writer.execute("PRAGMA synchronous=OFF")
        self._writer.execute("CREATE TABLE orders (shop, key, version, PRIMARY KEY (shop, key))")

    def write(self, shop: str, key: str, version: int) -> None:
        self._writer.execute("BEGIN")
        self._writer.execute("REPLACE INTO orders VALUES (?, ?, ?)", (shop, key, version))

    def commit(self) -> None:
        self._writer.execute("COMMIT")

    def state(self, shop: str) -> dict[str, int]:
        rows = self._reader.execute("SELECT key, version FROM orders WHERE shop = ?", (shop,))
        return dict(rows.fetchall())

    def close(self) -> None:
        self._writer.close()
        self._reader.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path / "shop.sqlite3")) as shop:
        yield shop


class Visit:
    """A page: its request begins, its view reads, its template is rendered, its stream begins."""

    def __init__(self, shop: Shop, name: str, running: runtime.Runtime, begin: Any) -> None:
        self.shop, self.name, self.running, self._begin = shop, name, running, begin
        self.transport = FakeTransport()

    @property
    def steps(self) -> list[Callable[[], object]]:
        return [self.begin, self.read, self.render, self.subscribe]

    def begin(self) -> None:
        self.request = self._begin()

    def read(self) -> None:
        self.shown = self.shop.state(self.name)

    def render(self) -> None:
        self.cursor = rendered(self.request)

    def subscribe(self) -> None:
        start = parse_since(self.cursor)
        self.running.subscribe(Grant(topics=(self.name,)), self.transport, start)

    async def received(self, last: str) -> list[str]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while last not in self.transport.received:  # noqa: ASYNC110 - the fake sets no event
                await asyncio.sleep(0)
        return [item for item in self.transport.received if not item.startswith("stream.")]


def interleave(
    source: random.Random, visit: Visit, writes: list[tuple[str, int]]
) -> list[Callable[[], object]]:
    """A random order of all steps. Transactions follow one another; events follow their commit."""
    shop, name = visit.shop, visit.name
    page, transactions = iter(visit.steps), iter(writes)
    waiting: list[Callable[[], object]] = []
    order: list[Callable[[], object]] = []
    open_write: tuple[str, int] | None = None
    next_step, next_write = next(page, None), next(transactions, None)
    while next_step or next_write or open_write or waiting:
        choices = ["page"] * bool(next_step) + ["publish"] * bool(waiting)
        choices += ["write"] * bool(next_write or open_write)
        match source.choice(choices):
            case "page":
                assert next_step
                order.append(next_step)
                next_step = next(page, None)
            case "publish":
                order.append(waiting.pop(source.randrange(len(waiting))))
            case "write" if open_write:
                key, version = open_write
                text = f"{key}:{version}"
                order.append(shop.commit)
                waiting.append(partial(publish, name, text))
                open_write = None
            case "write":
                assert next_write
                key, version = open_write = next_write
                order.append(partial(shop.write, name, key, version))
                next_write = next(transactions, None)
    return order


async def until_followed(running: runtime.Runtime) -> None:
    """The hub has read all that is in the log."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while running.hub.head != open_sync_log(get_settings()).state():  # noqa: ASYNC110
            await asyncio.sleep(0)  # it sets no event


@pytest.mark.parametrize("server", ["followed", "elsewhere"])
async def test_any_interleaving_loses_nothing_and_shows_no_key_twice(
    shop: Shop, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = runtime.start()
    assert await running.wait_ready(timeout=DEADLINE_SECONDS)
    if server == "elsewhere":  # a process that serves pages and does not follow the log
        monkeypatch.setattr(page_cursor, "_following", {})
    for seed in range(INTERLEAVINGS // 2):
        source = random.Random(seed)
        visit = Visit(shop, f"demo.shop-{seed}", running, wsgi_request)
        writes = [(f"order-{number % 2}", number) for number in range(1, source.randint(3, 7))]
        for step in interleave(source, visit, writes):
            step()
            if source.random() < 0.7:
                await until_followed(running)
        publish(visit.name, "end")
        shown, appearances = visit.shown, list(visit.shown.items())
        for text in (await visit.received("end"))[:-1]:
            key, _, version = text.partition(":")
            if shown.get(key, 0) < int(version):  # the rule of carillon.js
                shown[key] = int(version)
                appearances.append((key, int(version)))
        assert shown == shop.state(visit.name), f"seed {seed}"
        assert len(set(appearances)) == len(appearances), f"seed {seed}"

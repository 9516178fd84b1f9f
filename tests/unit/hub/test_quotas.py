"""Limits: who comes to a full house is told in the stream, and who publishes too fast by a 429."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import AsyncClient
from pytest_django import Settings as DjangoSettings

from notifications.asgi.handler import CarillonASGIHandler
from notifications.asgi.responses import EventStreamResponse
from notifications.conf import get_settings
from notifications.errors import TooMany
from notifications.hub import keepalive, quotas, runtime
from notifications.hub.grants import Grant
from notifications.hub.hub import Hub
from notifications.hub.keepalive import KeepAlive
from notifications.hub.quotas import Quotas
from notifications.hub.subscribers import CloseReason, Start
from notifications.hub.window import Window
from notifications.log.base import Retention
from notifications.publishing import rate_limit
from notifications.sse import Decoder, ServerSentEvent
from notifications.telemetry.counters import process_counters
from notifications.transport.base import Payload
from tests.harness.asgi import Connection
from tests.harness.django_client import post, subscribed
from tests.harness.fakes import EPOCH, FakeTransport, batch, entry

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

DEADLINE = 10.0
HERE = "/events/?topic=demo.x"


@pytest.fixture
def limit(settings: DjangoSettings) -> "Limit":
    return Limit(settings)


class Limit:
    def __init__(self, settings: DjangoSettings) -> None:
        self._settings = settings

    def __call__(self, **limits: object) -> None:
        self._settings.CARILLON = {**self._settings.CARILLON, **limits}


def connection(path: str = HERE, *, address: str = "127.0.0.1") -> Connection:
    made = Connection(CarillonASGIHandler(), path)
    made.scope["client"] = (address, 4711)
    return made


def is_refusal(event: ServerSentEvent, reason: str) -> bool:
    assert event.type == "stream.closing"
    assert event.retry is not None
    assert 15_000 <= event.retry <= 60_000
    return bool(json.loads(event.data) == {"reason": reason})


async def test_a_full_process_answers_200_and_says_when_to_come_back(limit: Limit) -> None:
    limit(MAX_STREAMS=2)
    async with connection() as one, connection() as two:
        assert (await one.event()).type == (await two.event()).type == "stream.cursor"
        before = process_counters.refused["too_many_streams"]
        async with connection() as late:
            assert late.status == 200
            assert is_refusal(await late.event(), "too_many_streams")
            async with asyncio.timeout(DEADLINE):
                await asyncio.shield(late.task)
        assert process_counters.refused["too_many_streams"] == before + 1
    async with connection() as next_one:
        assert (await next_one.event()).type == "stream.cursor"


async def test_when_to_come_back_differs(limit: Limit) -> None:
    limit(MAX_STREAMS=1)
    pauses = set()
    async with connection() as one:
        await one.event()
        for _ in range(5):
            async with connection() as late:
                pauses.add((await late.event()).retry)
    assert len(pauses) > 1


async def test_an_address_has_its_share_and_others_have_theirs(limit: Limit) -> None:
    limit(MAX_STREAMS_PER_ADDRESS=1)
    async with connection(address="192.0.2.1") as one:
        await one.event()
        async with connection(address="192.0.2.1") as again:
            assert is_refusal(await again.event(), "too_many_of_address")
        async with connection(address="192.0.2.2") as other:
            assert (await other.event()).type == "stream.cursor"
    async with connection(address="192.0.2.1") as back:
        assert (await back.event()).type == "stream.cursor"


async def test_many_who_come_at_the_same_moment_are_not_let_in_together(limit: Limit) -> None:
    limit(MAX_STREAMS_PER_ADDRESS=3)
    made = [connection() for _ in range(12)]
    async with asyncio.TaskGroup() as group:
        opened = [group.create_task(one.__aenter__()) for one in made]
    said = [await task.result().event() for task in opened]
    assert sorted(event.type for event in said) == ["stream.closing"] * 9 + ["stream.cursor"] * 3
    for one in made:
        await one.__aexit__(None, None, None)
    assert not runtime.start().quotas._by_name


async def test_a_stock_handler_has_the_same_limits(limit: Limit, async_client: AsyncClient) -> None:
    limit(MAX_STREAMS_PER_ADDRESS=1)
    async with subscribed(async_client, "demo.x") as one:
        assert (await one.next()).type == "stream.cursor"
        late: Any = await async_client.get(HERE)
        assert is_refusal(Decoder().feed(late.content)[0], "too_many_of_address")


async def test_a_user_has_as_many_as_a_user_may(limit: Limit) -> None:
    """By session, link or token; a key is no user."""
    limit(MAX_STREAMS_PER_USER=1)
    here = runtime.start()
    assert await here.wait_ready(timeout=DEADLINE)
    quota = here.quotas

    def names(*subjects: str) -> tuple[str, ...]:
        return quota.names(None, Grant(topics=("t",), subjects=subjects))

    assert names("user:5", "session:a") == ("user:5",)
    assert names("link:x", "user:5") == ("user:5",)
    assert names("token:iss:ada", "jti:1") == ("token:iss:ada",)
    assert names("key:ab12cd34") == names("link:x") == names() == ()
    subscriber = here.subscribe(
        Grant(topics=("t",)), FakeTransport(), Start(), names=names("user:5", "session:a")
    )
    assert quota.refusal(names("user:5", "session:b")) is CloseReason.TOO_MANY_OF_USER
    assert quota.refusal(names("user:6")) is None
    here.hub.leave(subscriber, CloseReason.CLIENT_LEFT)
    assert quota.refusal(names("user:5")) is None


async def test_a_view_of_ones_own_has_them_too(limit: Limit) -> None:
    limit(MAX_STREAMS=1)

    async def view(request: HttpRequest) -> EventStreamResponse:
        return EventStreamResponse(["anything"])

    async with connection() as one:
        await one.event()
        stream = (await view(HttpRequest())).stream
        assert b"too_many_streams" in (await stream.refusal() or b"")


async def test_a_process_short_of_descriptors_takes_no_more_than_it_can(
    limit: Limit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas, "limit", lambda: 1024)
    assert Quotas(get_settings())._most == 1024 - 64
    limit(MAX_STREAMS=100)
    assert Quotas(get_settings())._most == 100
    limit(MAX_STREAMS=0)
    assert Quotas(get_settings())._most == 0


async def test_refusals_are_logged_now_and_then(
    limit: Limit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limit(MAX_STREAMS=1)
    quota = Quotas(get_settings())
    quota._open = 1
    for _ in range(50):
        assert quota.refusal(()) is CloseReason.TOO_MANY_STREAMS
    assert caplog.text.count("stream.refused reason=too_many_streams") == 1
    monkeypatch.setattr(quotas, "SAID_EVERY", 0.0)
    quota.refusal(())
    assert caplog.text.count("stream.refused") == 2


def test_in_development_there_are_no_limits_unless_they_are_set(settings: DjangoSettings) -> None:
    assert get_settings().MAX_STREAMS == 15_000
    settings.DEBUG = True
    unlimited = get_settings()
    assert not any(
        (
            *(unlimited.MAX_STREAMS, unlimited.MAX_STREAMS_PER_ADDRESS),
            *(unlimited.MAX_STREAMS_PER_USER, unlimited.MAX_STREAM_AGE, unlimited.PUBLISH_RATE),
        )
    )
    settings.CARILLON = {**settings.CARILLON, "MAX_STREAMS": 7}
    assert get_settings().MAX_STREAMS == 7


# Age


@pytest.fixture
async def visits(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Hub, KeepAlive]]:
    monkeypatch.setattr(keepalive, "TICK", 0.005)
    monkeypatch.setattr(keepalive, "BUSY", 0.01)
    window = Window(Retention(100, 10**9, 10**6))
    window.append(batch(0, entry(1)))
    hub = Hub(EPOCH, window)
    visits = KeepAlive(hub, period=30, write_deadline=30, max_age=0.2)
    running = asyncio.create_task(visits.run())
    yield hub, visits
    running.cancel()


class Transport(FakeTransport):
    def __init__(self, *, held: bool = False) -> None:
        super().__init__(held=held)
        self.over = asyncio.Event()

    def end(self, payload: Payload, *, hang_up: bool = False) -> None:
        super().end(payload, hang_up=hang_up)
        self.over.set()


async def test_a_stream_that_is_old_ends_and_its_connection_with_it(
    visits: tuple[Hub, KeepAlive],
) -> None:
    hub, keep = visits
    began = time.monotonic()
    transports = [Transport() for _ in range(10)]
    for transport in transports:
        keep.add(hub.subscribe(frozenset({"t"}), transport, Start()))
    ages = []
    async with asyncio.timeout(DEADLINE):
        for transport in transports:
            await transport.over.wait()
            ages.append(time.monotonic() - began)
    assert ages[0] >= 0.2 * 0.75
    *_, last = transports[0].events
    assert (last.type, last.data) == ("stream.closing", '{"reason":"too_old"}')
    assert last.retry is not None
    assert last.retry <= 1_000
    assert all(transport.hung_up for transport in transports)
    assert hub.subscribers == []


async def test_lifetimes_are_spread_by_a_quarter_either_way(
    visits: tuple[Hub, KeepAlive],
) -> None:
    hub, keep = visits
    keep._max_age = 1000
    now = asyncio.get_running_loop().time()
    joined = [hub.subscribe(frozenset({"t"}), FakeTransport(), Start()) for _ in range(300)]
    for subscriber in joined:
        keep.add(subscriber)
    took = asyncio.get_running_loop().time() - now
    ages = [subscriber.until - now for subscriber in joined]
    assert 750 <= min(ages) < 790
    assert 1210 < max(ages) < 1250 + took


async def test_an_old_stream_whose_wire_is_busy_is_told_when_it_has_drained(
    visits: tuple[Hub, KeepAlive],
) -> None:
    hub, keep = visits
    transport = Transport(held=True)
    subscriber = hub.subscribe(frozenset({"t"}), transport, Start())
    subscriber.until = 0.0
    keep._file(subscriber)
    async with asyncio.timeout(DEADLINE):
        while len(keep._told) == 0:  # noqa: ASYNC110 - the fake has nobody to tell
            await asyncio.sleep(0.001)
    assert subscriber.open
    transport.held = False
    transport.drain()
    async with asyncio.timeout(DEADLINE):
        await transport.over.wait()
    assert not transport.aborted


# Publishing


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rate_limit, "time", clock)
    monkeypatch.setattr(rate_limit, "_buckets", {})
    return clock


async def test_who_publishes_too_fast_is_told_for_how_long_to_wait(
    limit: Limit, clock: Clock, async_client: AsyncClient
) -> None:
    limit(PUBLISH_RATE=10)
    events = [{"topic": "demo.x", "data": n} for n in range(45)]
    assert (await post(async_client, events)).status == 201  # 10 are saved up, 35 are owed
    answer = await post(async_client, events[0])
    assert answer.is_problem(429, "too-many-requests")
    assert answer.headers["retry-after"] == "4"
    assert answer.body["retry_after"] == 4
    clock.now += 3.4
    assert (await post(async_client, events[0])).status == 429
    clock.now += 0.3
    assert (await post(async_client, events[0])).status == 201


async def test_what_is_refused_is_not_read_and_not_kept(
    limit: Limit, clock: Clock, async_client: AsyncClient
) -> None:
    limit(PUBLISH_RATE=1)
    assert (await post(async_client, {"topic": "demo.x", "data": 1})).status == 201
    before = process_counters.published
    assert (await post(async_client, b"{not even JSON")).status == 429
    assert process_counters.published == before


async def test_what_cannot_be_read_counts_too(
    limit: Limit, clock: Clock, async_client: AsyncClient
) -> None:
    limit(PUBLISH_RATE=2)
    statuses = [(await post(async_client, b"{")).status for _ in range(4)]
    assert statuses == [400, 400, 429, 429]


def test_a_rate_below_one_a_second_is_a_rate(limit: Limit, clock: Clock) -> None:
    limit(PUBLISH_RATE=0.1)
    rate_limit.check("key:a")
    with pytest.raises(TooMany) as refused:
        rate_limit.check("key:a")
    assert refused.value.extensions["retry_after"] == 10
    clock.now += 10.1
    rate_limit.check("key:a")


def test_publishers_do_not_share_and_the_quiet_are_forgotten(
    limit: Limit, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(PUBLISH_RATE=1)
    monkeypatch.setattr(rate_limit, "MANY", 3)
    for name in "abc":
        rate_limit.check(name)
        rate_limit.take(name, 100)
    clock.now += 5
    rate_limit.check("d")
    assert set(rate_limit._buckets) == {"a", "b", "c", "d"}, "those who owe are remembered"
    clock.now += 1_000
    rate_limit.check("e")
    assert set(rate_limit._buckets) == {"e"}
    with pytest.raises(TooMany):
        rate_limit.check("e")

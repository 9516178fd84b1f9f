"""Quotas: a client that may not open one more stream gets the reason inside a stream."""

import asyncio
import json
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import AsyncClient
from pytest_django import Settings as DjangoSettings

from notifications.asgi.handler import CarillonASGIHandler
from notifications.asgi.responses import EventStreamResponse
from notifications.conf import get_settings
from notifications.hub import runtime
from notifications.hub.grants import Grant
from notifications.hub.quotas import LOG_EVERY_SECONDS, Quotas
from notifications.hub.refusals import HeldRefusals
from notifications.hub.subscribers import CloseReason, Start
from notifications.sse import Decoder, ServerSentEvent
from notifications.telemetry.counters import process_counters
from tests.harness.asgi import Connection
from tests.harness.django_client import subscribed
from tests.harness.fakes import FakeTransport

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

DEADLINE = 30.0
PATH = "/events/?topic=demo.x"


@pytest.fixture
def limit(settings: DjangoSettings) -> "Limit":
    return Limit(settings)


class Limit:
    def __init__(self, settings: DjangoSettings) -> None:
        self._settings = settings

    def __call__(self, **limits: object) -> None:
        self._settings.CARILLON = {**self._settings.CARILLON, **limits}


def connection(path: str = PATH, *, address: str = "127.0.0.1") -> Connection:
    opened = Connection(CarillonASGIHandler(), path)
    opened.scope["client"] = (address, 4711)
    return opened


def is_refusal(event: ServerSentEvent, reason: str) -> bool:
    assert event.type == "stream.closing"
    assert event.retry is not None
    assert 15_000 <= event.retry <= 60_000
    return bool(json.loads(event.data) == {"reason": reason})


async def test_a_full_process_answers_200_with_a_time_to_reconnect(limit: Limit) -> None:
    limit(MAX_STREAMS=2)
    async with connection() as one, connection() as two:
        assert (await one.event()).type == (await two.event()).type == "stream.cursor"
        before = process_counters.refused["too_many_streams"]
        runtime.start().quotas.held_refusals = HeldRefusals(seconds=0.01)
        async with connection() as late:
            assert late.status == 200
            assert is_refusal(await late.event(), "too_many_streams")
            async with asyncio.timeout(DEADLINE):
                await asyncio.shield(late.task)
        assert process_counters.refused["too_many_streams"] == before + 1
    async with connection() as next_one:
        assert (await next_one.event()).type == "stream.cursor"


async def test_the_time_to_reconnect_differs(limit: Limit) -> None:
    limit(MAX_STREAMS=1)
    pauses = set()
    async with connection() as one:
        await one.event()
        for _ in range(5):
            async with connection() as late:
                pauses.add((await late.event()).retry)
    assert len(pauses) > 1


async def test_each_address_has_a_quota_of_its_own(limit: Limit) -> None:
    limit(MAX_STREAMS_PER_ADDRESS=1)
    async with connection(address="192.0.2.1") as one:
        await one.event()
        async with connection(address="192.0.2.1") as again:
            assert is_refusal(await again.event(), "too_many_of_address")
        async with connection(address="192.0.2.2") as other:
            assert (await other.event()).type == "stream.cursor"
    async with connection(address="192.0.2.1") as back:
        assert (await back.event()).type == "stream.cursor"


async def test_many_connections_at_the_same_moment_do_not_exceed_the_quota(limit: Limit) -> None:
    limit(MAX_STREAMS_PER_ADDRESS=3)
    connections = [connection() for _ in range(12)]
    async with asyncio.TaskGroup() as group:
        opened = [group.create_task(each.__aenter__()) for each in connections]
    types = sorted([(await task.result().event()).type for task in opened])
    assert types == ["stream.closing"] * 9 + ["stream.cursor"] * 3
    for each in connections:
        await each.__aexit__(None, None, None)
    assert not runtime.start().quotas._by_name


async def test_a_stock_handler_has_the_same_limits(limit: Limit, async_client: AsyncClient) -> None:
    limit(MAX_STREAMS_PER_ADDRESS=1)
    async with subscribed(async_client, "demo.x") as one:
        assert (await one.next()).type == "stream.cursor"
        late: Any = await async_client.get(PATH)
        [block] = Decoder().feed(await anext(aiter(late.streaming_content)))
        assert is_refusal(block, "too_many_of_address")
        late.close()


async def test_each_user_has_a_quota(limit: Limit) -> None:
    """Users come by a session, a link or a token; an API key is no user."""
    limit(MAX_STREAMS_PER_USER=1)
    running = runtime.start()
    assert await running.wait_ready(timeout=DEADLINE)
    quotas = running.quotas

    def grant(*subjects: str) -> Grant:
        return Grant(topics=("t",), subjects=subjects)

    def names(*subjects: str) -> tuple[str, ...]:
        return quotas.names(None, grant(*subjects))

    assert names("user:5", "session:a") == ("user:5",)
    assert names("link:x", "user:5") == ("user:5",)
    assert names("token:iss:ada", "jti:1") == ("token:iss:ada",)
    assert names("key:ab12cd34") == names("link:x") == names() == ()
    admitted = names("user:5", "session:a")
    subscriber = running.subscribe(grant(), FakeTransport(), Start(), quota_names=admitted)
    assert quotas.admit(None, grant("user:5", "session:b")) is CloseReason.TOO_MANY_OF_USER
    assert quotas.admit(None, grant("user:6")) == ("user:6",)
    running.hub.leave(subscriber, CloseReason.CLIENT_LEFT)
    assert quotas.admit(None, grant("user:5")) == ("user:5",)


async def test_an_application_s_own_view_has_the_same_limits(limit: Limit) -> None:
    limit(MAX_STREAMS=1)

    async def view(request: HttpRequest) -> EventStreamResponse:
        return EventStreamResponse(["anything"])

    async with connection() as one:
        await one.event()
        stream = (await view(HttpRequest())).stream
        refusal = await stream.refusal()
        assert refusal is not None
        assert b"too_many_streams" in refusal.block()


def test_a_process_with_few_descriptors_has_a_lower_quota(limit: Limit) -> None:
    def max_streams() -> int:
        return Quotas(get_settings(), read_descriptor_limit=lambda: 1024)._max_streams

    assert max_streams() == 1024 - 64
    limit(MAX_STREAMS=100)
    assert max_streams() == 100
    limit(MAX_STREAMS=0)
    assert max_streams() == 0


async def test_refusals_are_logged_at_most_every_ten_seconds(
    limit: Limit, caplog: pytest.LogCaptureFixture
) -> None:
    limit(MAX_STREAMS=1)
    now = 1000.0
    quotas = Quotas(get_settings(), clock=lambda: now)
    quotas._open = 1
    for _ in range(50):
        assert quotas.admit(None) is CloseReason.TOO_MANY_STREAMS
    assert caplog.text.count("stream.refused reason=too_many_streams") == 1
    now += LOG_EVERY_SECONDS
    quotas.admit(None)
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

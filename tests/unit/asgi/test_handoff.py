"""The hand-off: Django's request ends, and the stream stays open."""

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.signals import request_finished
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.test import override_settings
from django.urls import path
from django.utils.decorators import sync_only_middleware

from notifications import apublish
from notifications.access.identities import session
from notifications.asgi.handler import CarillonASGIHandler
from notifications.asgi.marker import nonblocking
from notifications.asgi.responses import EventStreamResponse
from notifications.asgi.threads import MAX_THREADS
from notifications.hub import runtime, stream
from notifications.transport.base import Message
from tests import settings as default
from tests.harness import sessions as gated_sessions
from tests.harness.asgi import DEADLINE_SECONDS, Connection
from tests.harness.servers import free_port

PRIVATE, COOKIE = "/events/?topic=user.1", "sessionid=anything"
LOGGING_THREADS = 32

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends", "urls")


async def async_view(request: HttpRequest) -> EventStreamResponse:
    await runtime.start().wait_ready(timeout=DEADLINE_SECONDS)
    return EventStreamResponse(["t"])


@nonblocking
async def nonblocking_view(request: HttpRequest) -> EventStreamResponse:
    return await async_view(request)


def sync_view(request: HttpRequest) -> EventStreamResponse:
    return EventStreamResponse(["t"])


urlpatterns = [
    path("async", async_view),
    path("sync", sync_view),
    path("nonblocking", nonblocking_view),
]


@pytest.fixture
def urls(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []


@pytest.fixture
def finished() -> Iterator[asyncio.Event]:
    """Set when Django sends `request_finished`."""
    event = asyncio.Event()

    def note(**_: Any) -> None:
        event.set()

    request_finished.connect(note)
    yield event
    request_finished.disconnect(note)


type GetResponse = Callable[[HttpRequest], HttpResponseBase]


@sync_only_middleware
def passing(get_response: GetResponse) -> GetResponse:
    return get_response


@sync_only_middleware
def wrapping(get_response: GetResponse) -> GetResponse:
    async def wrapped(source: Any) -> AsyncIterator[bytes]:
        async for chunk in source:
            yield chunk

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        assert isinstance(response, EventStreamResponse)
        response.streaming_content = wrapped(response.streaming_content)
        return response

    return middleware


@pytest.mark.parametrize("url_path", ["/async", "/sync"])
async def test_the_request_is_finished_while_the_stream_is_open(
    url_path: str, finished: asyncio.Event
) -> None:
    await runtime.start().wait_ready(timeout=DEADLINE_SECONDS)
    async with Connection(CarillonASGIHandler(), url_path) as connection:
        assert (await connection.event()).type == "stream.cursor"
        assert finished.is_set()
        await apublish("t", "a")
        assert (await connection.event()).data == "a"


@pytest.mark.parametrize("application", [CarillonASGIHandler, ASGIHandler])
async def test_the_first_stream_of_a_process_waits_for_its_window(
    application: type[ASGIHandler],
) -> None:
    async with Connection(application(), "/sync") as connection:
        assert (await connection.event()).type == "stream.cursor"


@pytest.mark.parametrize("application", [CarillonASGIHandler, ASGIHandler])
async def test_a_stream_whose_window_cannot_be_loaded_is_closed_with_the_reason(
    application: type[ASGIHandler], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CARILLON = {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    monkeypatch.setattr(stream, "READY_TIMEOUT_SECONDS", 0.01)
    async with Connection(application(), "/sync") as connection:
        closing = await connection.event()
        assert (closing.type, closing.data) == ("stream.closing", '{"reason":"starting"}')
        async with asyncio.timeout(DEADLINE_SECONDS):
            await connection.task


async def test_a_stream_starts_at_the_moment_when_its_response_was_made() -> None:
    await runtime.start().wait_ready(timeout=DEADLINE_SECONDS)
    response = EventStreamResponse(["t"])
    await apublish("t", "a")
    stream = aiter(response)
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert b"event: stream.cursor" in await anext(stream)
        assert b"data: a" in await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]


async def test_open_streams_hold_no_threads(finished: asyncio.Event) -> None:
    application = CarillonASGIHandler()
    async with Connection(application, "/async") as connection:
        await connection.event()
    before = threading.active_count()
    connections = [Connection(application, "/async") for _ in range(30)]
    for connection in connections:
        await connection.__aenter__()
        await connection.event()
    assert threading.active_count() <= before + 1
    for connection in connections:
        await connection.__aexit__(None, None, None)


async def test_a_stream_below_a_sync_middleware_is_handed_off(
    finished: asyncio.Event, settings: Any
) -> None:
    settings.MIDDLEWARE = [f"{__name__}.passing"]
    async with Connection(CarillonASGIHandler(), "/async") as connection:
        await connection.event()
        assert finished.is_set()


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Wraps `ASGIHandler.__call__` as error trackers do, and notes the messages it sees."""
    seen: list[str] = []
    call = ASGIHandler.__call__

    async def wrapped(self: ASGIHandler, scope: Any, receive: Any, send: Any) -> None:
        async def noting(message: Any) -> None:
            seen.append(message["type"])
            await send(message)

        # In a task, and with a scope of its own.
        await asyncio.create_task(call(self, dict(scope), receive, noting))

    monkeypatch.setattr(ASGIHandler, "__call__", wrapped)
    return seen


@pytest.mark.parametrize("url_path", ["/async", "/sync"])
async def test_a_stream_is_handed_off_whatever_wraps_djangos_handler(
    url_path: str, tracker: list[str], finished: asyncio.Event
) -> None:
    async with Connection(CarillonASGIHandler(), url_path) as connection:
        assert (await connection.event()).type == "stream.cursor"
        assert finished.is_set()
    assert tracker == ["http.response.start"]


async def test_a_stream_on_the_fast_path_is_handed_off_whatever_wraps_send(
    finished: asyncio.Event,
) -> None:
    class Wrapping(CarillonASGIHandler):
        async def send_response(self, response: HttpResponseBase, send: Any) -> None:
            async def wrapped(message: Any) -> None:
                await send(message)

            await super().send_response(response, wrapped)

    async with Connection(Wrapping(), "/nonblocking") as connection:
        assert (await connection.event()).type == "stream.cursor"
        assert finished.is_set()


async def test_a_stream_whose_iterator_a_middleware_wraps_is_served_and_logged_once(
    finished: asyncio.Event,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("carillon"), "propagate", True)
    settings.MIDDLEWARE = [f"{__name__}.wrapping"]
    application = CarillonASGIHandler()
    for _ in range(2):
        async with Connection(application, "/async") as connection:
            await connection.event()
            assert not finished.is_set()
            await apublish("t", "a")
            assert (await connection.event()).data == "a"
        finished.clear()
    assert sum("handoff.refused" in record.message for record in caplog.records) == 1


async def test_djangos_own_handler_serves_streams_without_hand_off(finished: asyncio.Event) -> None:
    async with Connection(ASGIHandler(), "/async") as connection:
        await connection.event()
        assert not finished.is_set()
        await apublish("t", "a")
        assert (await connection.event()).data == "a"
        assert len(runtime.start().hub.subscribers) == 1
    assert runtime.start().hub.subscribers == []


async def test_a_client_that_leaves_is_removed_from_the_hub() -> None:
    async with Connection(CarillonASGIHandler(), "/async") as connection:
        await connection.event()
        assert len(runtime.start().hub.subscribers) == 1
    assert runtime.start().hub.subscribers == []


async def test_no_stream_opens_for_a_client_that_left_while_django_awaited_its_disconnect() -> None:
    await runtime.start().wait_ready(timeout=DEADLINE_SECONDS)

    incoming: asyncio.Queue[Message] = asyncio.Queue()
    incoming.put_nowait({"type": "http.request"})
    sent = []

    async def send(message: Message) -> None:
        sent.append(message["type"])
        incoming.put_nowait({"type": "http.disconnect"})
        async with asyncio.timeout(DEADLINE_SECONDS):
            while incoming.qsize():  # noqa: ASYNC110 - until Django has received it
                await asyncio.sleep(0)

    scope = Connection(CarillonASGIHandler(), "/async").scope
    async with asyncio.timeout(DEADLINE_SECONDS):
        await CarillonASGIHandler()(scope, incoming.get, send)
    assert sent == ["http.response.start"]
    assert runtime.start().hub.subscribers == []


async def test_a_process_that_stops_closes_its_streams_with_the_reason() -> None:
    async with Connection(CarillonASGIHandler(), "/async") as connection:
        await connection.event()
        await runtime.stop()
        closing = await connection.message()
        assert b'"reason":"stopping"' in closing["body"]
        assert not closing["more_body"]


async def test_a_client_that_reads_nothing_is_closed_without_an_error_in_the_log(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CARILLON = {**settings.CARILLON, "WRITE_DEADLINE": 0.05}
    async with Connection(CarillonASGIHandler(), "/async") as connection:
        await connection.event()
        connection.client_reads.clear()
        await apublish("t", "a")
        async with asyncio.timeout(DEADLINE_SECONDS):
            await connection.task
    assert runtime.start().hub.subscribers == []
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    # A thread of an earlier test may close its database just now, and pytest-django forbids that.
    assert [each for each in errors if "thread.cleanup_failed" not in each] == []


async def test_a_task_that_the_server_cancels_raises_cancelled_error() -> None:
    connection = Connection(CarillonASGIHandler(), "/async")
    await connection.__aenter__()
    await connection.event()
    connection.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connection.task
    assert runtime.start().hub.subscribers == []


async def test_an_open_stream_holds_no_reference_to_its_request() -> None:
    freed: list[bool] = []

    async def watched_view(request: HttpRequest) -> EventStreamResponse:
        weakref.finalize(request, freed.append, True)
        return EventStreamResponse(["t"])

    await runtime.start().wait_ready(timeout=DEADLINE_SECONDS)
    pattern = type("Urls", (), {"urlpatterns": [path("watched", watched_view)]})
    with override_settings(ROOT_URLCONF=pattern):
        async with Connection(CarillonASGIHandler(), "/watched") as connection:
            await connection.event()
            gc.collect()
            assert freed == [True]


@pytest.fixture
def sessions(settings: Any) -> Iterator[None]:
    """The service as in config/, with sessions that cannot be read until the gate opens."""
    settings.ROOT_URLCONF = "config.urls"
    settings.MIDDLEWARE = default.MIDDLEWARE
    settings.SESSION_ENGINE = "tests.harness.sessions"
    gated_sessions.gate.clear()
    gated_sessions.readers.clear()
    yield
    gated_sessions.gate.set()


async def test_public_streams_are_served_while_sessions_cannot_be_read(
    sessions: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "READ_TIMEOUT_SECONDS", 0.05)
    application = CarillonASGIHandler()
    async with Connection(application, "/events/?topic=demo.a") as public:
        await public.event()
        before = threading.active_count()
        for _ in range(3):
            crowd = [Connection(application, PRIVATE, cookie=COOKIE) for _ in range(30)]
            await asyncio.gather(*(connection.__aenter__() for connection in crowd))
            for connection in crowd:
                assert (await connection.event()).data == '{"reason":"user_unknown"}'
                await connection.__aexit__(None, None, None)
        assert threading.active_count() <= before + MAX_THREADS
        await apublish("demo.a", "b")
        assert (await public.event()).data == "b"


async def test_a_burst_of_sessions_is_read_in_few_threads(sessions: None) -> None:
    gated_sessions.gate.set()
    application = CarillonASGIHandler()
    await runtime.start().wait_ready(timeout=DEADLINE_SECONDS)
    before = threading.active_count()
    crowd = [Connection(application, PRIVATE, cookie=COOKIE) for _ in range(60)]
    await asyncio.gather(*(connection.__aenter__() for connection in crowd))
    # Logging the refusals takes a few threads of its own.
    assert threading.active_count() <= before + MAX_THREADS + LOGGING_THREADS
    assert {connection.status for connection in crowd} == {403}
    assert len(gated_sessions.readers) == len(crowd)
    assert len(set(gated_sessions.readers)) <= MAX_THREADS
    for connection in crowd:
        await connection.__aexit__(None, None, None)


async def test_public_topics_need_no_thread(sessions: None) -> None:
    application = CarillonASGIHandler()
    await runtime.start().wait_ready(timeout=DEADLINE_SECONDS)
    before = threading.active_count()
    for _ in range(5):
        async with Connection(application, "/events/?topic=demo.a") as connection:
            await connection.event()
            assert threading.active_count() <= before
    assert gated_sessions.readers == []


async def test_lifespan_starts_and_stops_the_runtime() -> None:
    incoming: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    sent: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    task = asyncio.ensure_future(
        CarillonASGIHandler()({"type": "lifespan"}, incoming.get, sent.put)
    )
    async with asyncio.timeout(DEADLINE_SECONDS):
        incoming.put_nowait({"type": "lifespan.startup"})
        assert await sent.get() == {"type": "lifespan.startup.complete"}
        assert runtime.current() is not None
        incoming.put_nowait({"type": "lifespan.shutdown"})
        assert await sent.get() == {"type": "lifespan.shutdown.complete"}
        await task
    assert runtime.current() is None

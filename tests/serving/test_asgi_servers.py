"""Other people's ASGI servers with the fewest options: what docs/deploy.md promises of each."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from notifications.asgi import server_warnings
from tests.harness.asgi_servers import asgi_server
from tests.harness.event_source import Stream
from tests.harness.servers import PUBLISH_KEY, RedisServer, WebServer, daphne, migrate

DEADLINE_SECONDS = 60.0
STOP_SECONDS = 15.0
"""gunicorn kills its workers after 30."""
DRAIN_SECONDS = "0.2"
OPTIONS = {
    "uvicorn": ["--limit-max-requests", "1000"],
    "granian": ["--backpressure", "500"],
    "gunicorn": ["--max-requests", "1000"],
}
WARNING = {
    "uvicorn": "server.max_requests",
    "granian": "server.max_connections",
    "gunicorn": "server.max_requests",
}
NEVER_STOPS = "server.never_stops"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site")
    migrate(path)
    return path


async def passes_events_and_notices_a_client_that_leaves(server: WebServer) -> None:
    path, headers = "/events/?topic=demo.x", {"Authorization": f"Bearer {PUBLISH_KEY}"}
    async with asyncio.timeout(DEADLINE_SECONDS), Stream(server.port, path) as stays:
        assert (await stays.next()).type == "stream.cursor"
        async with Stream(server.port, f"{path}&end_notice=demo.x", headers=headers) as leaves:
            assert (await leaves.next()).type == "stream.cursor"
            await asyncio.to_thread(server.publish, {"topic": "demo.x", "data": "one"})
            assert (await leaves.next()).data == "one"
        assert (await stays.next()).data == "one"
        assert (await stays.next()).type == "left"


async def stops_with_a_farewell(server: WebServer) -> None:
    async with Stream(server.port, "/events/?topic=demo.x") as stream:
        assert (await stream.next()).type == "stream.cursor"
        server.popen.send_signal(signal.SIGTERM)
        closing = await stream.next()
        assert (closing.type, closing.data) == ("stream.closing", '{"reason":"draining"}')
        await asyncio.to_thread(server.popen.wait, STOP_SECONDS)


@pytest.mark.parametrize("name", OPTIONS)
async def test_the_server_stops_with_a_stream_open_and_its_traps_are_logged(
    name: str, redis: RedisServer, folder: Path
) -> None:
    settings = {"CARILLON_DRAIN_SECONDS": DRAIN_SECONDS}
    with asgi_server(
        name, *OPTIONS[name], redis_url=redis.url, folder=folder, **settings
    ) as server:
        await passes_events_and_notices_a_client_that_leaves(server)
        await stops_with_a_farewell(server)
        log = server.log.read_text()
    assert WARNING[name] in log
    assert NEVER_STOPS not in log


async def test_the_reactor_of_daphne_waits_for_the_drain(redis: RedisServer, folder: Path) -> None:
    with daphne(redis.url, folder, CARILLON_DRAIN_SECONDS=DRAIN_SECONDS) as server:
        await passes_events_and_notices_a_client_that_leaves(server)
        await stops_with_a_farewell(server)
        log = server.log.read_text()
    assert server.popen.returncode == 0
    assert "Traceback" not in log


async def test_hypercorn_streams_and_is_known_not_to_stop(redis: RedisServer, folder: Path) -> None:
    with asgi_server("hypercorn", redis_url=redis.url, folder=folder) as server:
        await passes_events_and_notices_a_client_that_leaves(server)
        assert NEVER_STOPS in server.log.read_text()


@pytest.mark.parametrize(
    ("arguments", "environment", "limit"),
    [
        ([], {}, 1024),
        (["--workers", "4"], {}, 256),
        (["--backpressure", "9000", "--port", "1"], {}, 9000),
        ([], {"GRANIAN_BACKLOG": "4096", "GRANIAN_WORKERS": "2"}, 2048),
    ],
)
def test_the_limit_of_granian_is_read_from_its_options(
    arguments: list[str],
    environment: dict[str, str],
    limit: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["granian", *arguments])
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert server_warnings._granian_limit() == limit

"""A site below a sub-path, behind a proxy that strips the prefix and behind one that keeps it."""

from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.end_to_end.test_websocket import DEADLINE_SECONDS, Client
from tests.harness.event_source import Stream
from tests.harness.servers import COMMANDS, RedisServer, migrate, wait_until_ready, web_server

SETTINGS_MODULE = "tests.harness.sub_path_settings"
PREFIX = "/app"


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--root-path", PREFIX], {}),
        ([], {"DJANGO_SETTINGS_MODULE": SETTINGS_MODULE}),
    ],
    ids=["root path", "FORCE_SCRIPT_NAME"],
)
async def test_streams_and_websockets_are_below_a_sub_path(
    options: list[str], settings: dict[str, str], redis: RedisServer, tmp_path: Path
) -> None:
    migrate(tmp_path)
    with web_server(
        [*COMMANDS["daphne"], *options], redis_url=redis.url, folder=tmp_path, settings=settings
    ) as server:
        wait_until_ready(server.port)
        for prefix in (PREFIX, ""):
            async with Stream(server.port, f"{prefix}/events/?topic=demo.x") as stream:
                assert (await stream.next()).type == "stream.cursor"
            async with connect(
                f"ws://127.0.0.1:{server.port}{prefix}/ws/events/",
                open_timeout=DEADLINE_SECONDS,
                proxy=None,
            ) as connection:
                await Client(connection).subscribe("a", "demo.x")
            _, document = server.get(f"{prefix}/openapi.json")
            assert f"{PREFIX}/events/" in document["paths"]
            assert all(path.startswith(PREFIX) for path in document["paths"])

"""With `OUTBOX = "in-process"`, the server processes relay the outbox too."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from pytest_django import Settings as DjangoSettings

from notifications import publish_outbox
from notifications.hub import runtime
from tests.harness.databases import Database
from tests.harness.event_source import subscribe
from tests.harness.servers import SERVERS, RedisServer
from tests.unit.publishing.outbox.reading import Published, wait_until

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


async def in_thread[T](database: Database, call: Callable[[], T]) -> T:
    """Call in a thread, and close the thread's connection to the database."""

    def call_and_close() -> T:
        try:
            return call()
        finally:
            connections[database.alias].close()

    return await asyncio.to_thread(call_and_close)


@pytest.mark.parametrize("server", SERVERS)
async def test_a_server_relays_from_its_start_and_releases_the_lease_at_its_end(
    server: str, database: Database, published: Published, redis: RedisServer, tmp_path: Path
) -> None:
    serve: Any = SERVERS[server]
    variables = {"CARILLON_OUTBOX": "in-process", "DATABASE_URL": database.url}
    with serve(redis.url, tmp_path, **variables) as web:
        async with subscribe(web.port, "demo.a") as stream:
            for number in range(3):
                data = str(number)
                publish = partial(publish_outbox, "demo.a", data, using=database.alias)
                await in_thread(database, publish)
                assert (await stream.next_event()).data == data
            status, health = await asyncio.to_thread(web.get, "/health/outbox")
            assert (status, health["databases"]["default"]["relayed"]) == (200, True)
    assert not await in_thread(database, lambda: database.relayed)


async def test_a_runtime_relays_by_its_settings_and_until_it_ends(
    database: Database, published: Published, settings: DjangoSettings
) -> None:
    runtime.start()
    assert not threads()
    await runtime.stop()
    settings.CARILLON = {**settings.CARILLON, "OUTBOX": "in-process"}
    runtime.start()
    await in_thread(database, lambda: wait_until(lambda: database.relayed))
    assert threads() == [f"carillon-relay-{database.alias}"]
    await runtime.stop()
    assert not threads()


def threads() -> list[str]:
    return [
        thread.name for thread in threading.enumerate() if thread.name.startswith("carillon-relay")
    ]

"""The processes that serve relay the outbox too, where the settings say so."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from pytest_django import Settings as DjangoSettings

from notifications import publish_outbox
from notifications.hub import runtime
from tests.harness.event_source import subscribe
from tests.harness.servers import SERVERS, RedisServer
from tests.unit.publishing.outbox.conftest import Database
from tests.unit.publishing.outbox.reading import Published, wait_until

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


async def ask[T](database: Database, call: Callable[[], T]) -> T:
    """In a thread, whose connection is closed after it."""

    def asking() -> T:
        try:
            return call()
        finally:
            connections[database.alias].close()

    return await asyncio.to_thread(asking)


@pytest.mark.parametrize("server", SERVERS)
async def test_a_server_relays_from_its_start_and_lets_go_of_the_lease_when_it_ends(
    server: str, database: Database, published: Published, redis: RedisServer, tmp_path: Path
) -> None:
    serve: Any = SERVERS[server]
    given = {"CARILLON_OUTBOX": "in-process", "DATABASE_URL": database.url}
    with serve(redis.url, tmp_path, **given) as web:
        async with subscribe(web.port, "demo.a") as stream:
            for number in range(3):
                data = str(number)
                await ask(database, lambda: publish_outbox("demo.a", data, using=database.alias))  # noqa: B023
                assert (await stream.next_event()).data == data
            status, told = await asyncio.to_thread(web.get, "/health/outbox")
            assert (status, told["databases"]["default"]["relayed"]) == (200, True)
    assert not await ask(database, lambda: database.relayed)


async def test_a_runtime_relays_where_it_is_told_to_and_until_it_ends(
    database: Database, published: Published, settings: DjangoSettings
) -> None:
    runtime.start()
    assert not threads()
    await runtime.stop()
    settings.CARILLON = {**settings.CARILLON, "OUTBOX": "in-process"}
    runtime.start()
    await ask(database, lambda: wait_until(lambda: database.relayed))
    assert threads() == [f"carillon-relay-{database.alias}"]
    await runtime.stop()
    assert not threads()


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("carillon-relay")]

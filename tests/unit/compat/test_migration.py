"""A migration: the changes it takes, and old and new processes side by side on one Redis."""

import difflib
from pathlib import Path

from tests.harness.servers import redis_server
from tests.unit.compat.chat import (
    EXAMPLE,
    SETTINGS,
    URLS,
    Project,
    Site,
    channels,
    data_of,
    next_event,
    project,
)


def test_the_migration_is_two_settings_and_one_include(
    migrated_project: Project, stock: Site
) -> None:
    added: dict[Path, list[str]] = {}
    for path in sorted(entry for entry in EXAMPLE.rglob("*") if entry.is_file()):
        name = path.relative_to(EXAMPLE)
        before = (stock.project.folder / name).read_text().splitlines()
        after = (migrated_project.folder / name).read_text().splitlines()
        lines = [line[2:] for line in difflib.ndiff(before, after) if line.startswith("+ ")]
        if lines or before != after:
            added[name] = lines
    assert added == {
        Path(SETTINGS): [
            'EVENTSTREAM_STORAGE_CLASS = "notifications.compat.eventstream.Storage"',
            'CARILLON = {"REDIS_URL": f"redis://127.0.0.1:{REDIS_PORT}/1"}',
        ],
        Path(URLS): ['EVENTS = "notifications.compat.eventstream"'],
    }


async def test_old_processes_still_get_every_event(stock: Site, migrated: Site, room: str) -> None:
    """The setting `EVENTSTREAM_REDIS` makes it so."""
    async with stock.listen(channels(room, f"typing-{room}")) as old:
        await next_event(old)
        for number in range(5):
            await migrated.send(room, number)
            assert await data_of(old, 1) == [str(number)]
        await migrated.send(f"typing-{room}", "eve")
        assert await data_of(old, 1) == ['"eve"']


async def test_half_way_both_get_what_either_sends(stored: Site, migrated: Site, room: str) -> None:
    """Stock streams over our storage, beside ours: every event arrives once in each."""
    async with (
        stored.listen(channels(room, f"typing-{room}")) as old,
        migrated.listen(channels(room, f"typing-{room}")) as new,
    ):
        await next_event(old)
        await next_event(new)
        for number, site in enumerate([stored, migrated, stored, migrated]):
            await site.send(room, number)
            await site.send(f"typing-{room}", number)
            for stream in (old, new):
                assert await data_of(stream, 2) == [str(number)] * 2


async def test_half_way_a_client_resumes_an_old_stream_as_a_new_one_and_back(
    stored: Site, migrated: Site, room: str
) -> None:
    async with stored.listen(channels(room)) as old:
        await next_event(old)
        await stored.send(room, 1)
        last = (await next_event(old)).id
    await migrated.send(room, 2)
    async with migrated.listen(channels(room), Last_Event_ID=last) as new:
        assert await data_of(new, 2) == ["", "2"]
        await stored.send(room, 3)
        last = (await next_event(new)).id
    await migrated.send(room, 4)
    async with stored.listen(channels(room), Last_Event_ID=last) as old:
        assert await data_of(old, 2) == ["", "4"]


async def test_an_id_of_the_old_storage_gets_a_reset(
    stock: Site, migrated: Site, room: str
) -> None:
    async with stock.listen(channels(room)) as old:
        await next_event(old)
        await stock.send(room, 1)
        last = (await next_event(old)).id
    assert last == f"{room}:1"
    async with migrated.listen(channels(room), Last_Event_ID=last) as new:
        assert [(await next_event(new)).type, (await next_event(new)).type] == [
            "stream-open",
            "stream-reset",
        ]


async def test_streams_outlive_redis(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        chat = project(tmp_path / "chat", "migrated", redis, tmp_path)
        chat.migrate()
        with chat.served() as site:
            async with site.listen(channels("a")) as stream:
                await next_event(stream)
                await site.send("a", 1)
                assert await data_of(stream, 1) == ["1"]
                redis.kill()
                # Keep-alives arrive, and no stream ends.
                assert [(await stream.next()).type for _ in range(2)] == ["keep-alive"] * 2
                with redis_server(tmp_path / "redis", port=redis.port):
                    await site.send("a", 2)
                    assert await data_of(stream, 1) == ["2"]

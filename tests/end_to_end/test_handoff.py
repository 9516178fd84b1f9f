"""An open stream holds a socket and a few KiB, and no thread, request or database connection."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from notifications.asgi.threads import MAX_THREADS
from tests.harness.event_source import DEADLINE_SECONDS, Stream, subscribe
from tests.harness.servers import (
    COMMANDS,
    SERVERS,
    RedisServer,
    WebServer,
    manage,
    migrate,
    wait_until_ready,
    web_server,
)

EARLIER, STREAMS = 100, 500
"""The earlier streams stay open, so that the later ones cannot reuse what they hold."""
MAX_OPENING = 30
MAX_BYTES_PER_STREAM = 30 * 1024
SPARE = 8
"""Descriptors and threads that come and go with requests, and not with streams."""

MAKE_USERS = """
import json
from secrets import token_hex
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction

def log_in(user):
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return user.pk, session.session_key

User = get_user_model()
with transaction.atomic():
    some = token_hex(4)  # other tests may have made users in this database
    users = [User(username=f"{some}-{n}", password=f"!{n}") for n in range(%d)]
    print(json.dumps([log_in(user) for user in User.objects.bulk_create(users)]))
"""

pytestmark = pytest.mark.usefixtures("loop_without_debug")


@dataclass(frozen=True)
class Resources:
    """The resources of a process, by the operating system."""

    memory: int
    threads: int
    descriptors: int
    files: frozenset[str]


def _resources(web: WebServer) -> Resources:
    process = psutil.Process(web.pid)
    return Resources(
        process.memory_full_info().uss,
        process.num_threads(),
        process.num_fds(),
        frozenset(file.path for file in process.open_files()),
    )


def at_rest(threads: int, *, descriptors: int = sys.maxsize) -> Callable[[Resources], bool]:
    """No more than so many, and no database: one is kept for a moment for the next request."""
    return lambda resources: (
        resources.threads <= threads
        and resources.descriptors <= descriptors
        and not any("sqlite" in file for file in resources.files)
    )


async def settled(web: WebServer, condition: Callable[[Resources], bool]) -> Resources:
    """Its resources once the condition holds: requests and connections take a moment to end."""
    resources = _resources(web)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition(resources):
                await asyncio.to_thread(web.get, "/health/live")
                resources = _resources(web)
    except TimeoutError:
        pytest.fail(f"Still held after {DEADLINE_SECONDS} s: {resources}")
    return resources


@asynccontextmanager
async def _open(web: WebServer, streams: Sequence[Stream]) -> AsyncIterator[int]:
    """Open them all; yields the largest number of threads that the server had meanwhile."""
    server, threads = psutil.Process(web.pid), [0]
    opening = asyncio.Semaphore(MAX_OPENING)

    async def enter(stack: AsyncExitStack, stream: Stream) -> None:
        async with opening:
            await stack.enter_async_context(stream)
            assert (await stream.next()).type == "stream.cursor"
            threads.append(server.num_threads())

    async with AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as tasks:
            for stream in streams:
                tasks.create_task(enter(stack, stream))
        yield max(threads)


def _anonymous(web: WebServer, folder: Path, redis: RedisServer) -> list[Stream]:
    return [subscribe(web.port, "demo.all", f"demo.{n}") for n in range(EARLIER + STREAMS)]


def _users(web: WebServer, folder: Path, redis: RedisServer) -> list[Stream]:
    printed = manage(
        "shell", "-v0", "-c", MAKE_USERS % (EARLIER + STREAMS), redis_url=redis.url, folder=folder
    )
    return [
        Stream(
            web.port,
            f"/events/?topic=demo.all&topic=user.{pk}",
            headers={"Cookie": f"sessionid={session}"},
        )
        for pk, session in json.loads(printed)
    ]


@pytest.mark.parametrize("kind", sorted(SERVERS))
@pytest.mark.parametrize("open_streams", [_anonymous, _users], ids=["anonymous", "logged in"])
async def test_an_open_stream_holds_a_socket_and_little_memory(
    kind: str,
    open_streams: Callable[[WebServer, Path, RedisServer], list[Stream]],
    redis: RedisServer,
    tmp_path: Path,
) -> None:
    migrate(tmp_path)
    with web_server(COMMANDS[kind], redis_url=redis.url, folder=tmp_path, fresh=True) as web:
        await asyncio.to_thread(wait_until_ready, web.port)
        streams = open_streams(web, tmp_path, redis)
        idle = _resources(web)
        async with _open(web, streams[:EARLIER]):
            before = await settled(web, at_rest(idle.threads + SPARE))
            async with _open(web, streams[EARLIER:]) as threads:
                assert threads <= before.threads + MAX_THREADS + SPARE
                # The connections of the health requests are closed a moment later.
                most = idle.descriptors + EARLIER + STREAMS + SPARE
                during = await settled(web, at_rest(before.threads, descriptors=most))
                memory = (during.memory - before.memory) / STREAMS
                print(f"{memory / 1024:.1f} KiB per stream")  # noqa: T201
                assert memory < MAX_BYTES_PER_STREAM
                await asyncio.to_thread(web.publish, {"topic": "demo.all", "data": "to everyone"})
                for stream in streams[EARLIER:]:
                    assert (await stream.next_event()).data == "to everyone"
        await settled(web, lambda resources: resources.descriptors <= idle.descriptors + SPARE)

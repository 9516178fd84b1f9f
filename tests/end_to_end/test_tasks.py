"""The code of docs/tasks.md in a real Celery worker, in Django's tasks, and in their backport."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django
import pytest
from celery import Celery

from notifications.sse import ServerSentEvent
from tests.harness.event_source import DEADLINE_SECONDS, Stream, subscribe
from tests.harness.servers import (
    ROOT,
    RedisServer,
    WebServer,
    daphne,
    environment,
    manage,
    wait_until_ready,
)

PAGE = (ROOT / "docs" / "tasks.md").read_text()
CELERY_APP = """
import os

import django
from celery import Celery

django.setup()
app = Celery(broker=os.environ["BROKER_URL"], include=["shop_tasks"])
"""
ENQUEUE = """
import sys
sys.path.insert(0, {folder!r})
from shop_tasks import import_rows
result = import_rows.enqueue({job!r}, [1, 2, 3])
print(result.status, result.errors)
"""
BACKPORT = "django_tasks"
TASK_MODULES = [BACKPORT, *(["django.tasks"] if django.VERSION >= (6, 0) else [])]


def write_tasks(folder: Path, *, holding: str) -> str:
    """Write the code block of the page with this text as the module `shop_tasks`."""
    blocks: list[str] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    [code] = [block for block in blocks if holding in block]
    (folder / "shop_tasks.py").write_text(code)
    return code


@pytest.fixture(scope="module")
def server(
    session_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebServer]:
    folder = tmp_path_factory.mktemp("tasks")
    with session_redis.client() as client:
        client.flushall()
    with daphne(session_redis.url, folder, CARILLON_PUBLIC_TOPICS="imports.") as web:
        wait_until_ready(web.port)  # until then, it ends streams at once
        yield web


async def events_until(stream: Stream, number: int, *, of_type: str) -> list[ServerSentEvent]:
    """The events up to this many of a type."""
    events: list[ServerSentEvent] = []
    async with asyncio.timeout(2 * DEADLINE_SECONDS):
        while sum(event.type == of_type for event in events) < number:
            event = await stream.next()  # which keep-alives bring before its own deadline
            if event.type != "stream.cursor":
                events.append(event)
    return events


def final_states(events: list[ServerSentEvent]) -> list[str]:
    """The last state of each piece of work."""
    reports = (json.loads(event.data) for event in events if event.type == "progress")
    return list({report["job"]: report["state"] for report in reports}.values())


@contextmanager
def celery_worker(folder: Path, redis: RedisServer, broker: str) -> Iterator[None]:
    (folder / "shop_celery.py").write_text(CELERY_APP)
    quick = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING")
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "shop_celery", "worker", "-c", "1", *quick],
        cwd=folder,
        env={
            **environment(redis.url, folder, {"BROKER_URL": broker}),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
        },
        stdin=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(DEADLINE_SECONDS)


async def test_a_celery_worker_publishes_progress_and_a_repeated_task_publishes_its_end_once(
    server: WebServer, session_redis: RedisServer, tmp_path: Path
) -> None:
    write_tasks(tmp_path, holding="shared_task")
    broker = session_redis.url.removesuffix("/0") + "/1"
    with celery_worker(tmp_path, session_redis, broker), Celery(broker=broker) as app:
        async with subscribe(server.port, "imports.celery", since="all") as stream:
            for task, rows in (("first", [1, 2, 3]), ("first", [1, 2, 3]), ("second", [1])):
                await asyncio.to_thread(
                    app.send_task, "shop_tasks.import_rows", ["celery", rows], task_id=task
                )
            events = await events_until(stream, 2, of_type="imported")
    assert final_states(events) == ["done", "done", "done"]
    imported = [json.loads(event.data) for event in events if event.type == "imported"]
    assert imported == [{"rows": 3}, {"rows": 1}]


@pytest.mark.parametrize("module", TASK_MODULES)
async def test_a_task_of_django_publishes_progress_and_its_end(
    server: WebServer, session_redis: RedisServer, tmp_path: Path, module: str
) -> None:
    code = write_tasks(tmp_path, holding="django.tasks")
    assert "from django.tasks import task  # Django 5.2: from django_tasks import task" in code
    (tmp_path / "shop_tasks.py").write_text(code.replace("django.tasks", module, 1))
    job = module.replace(".", "-")
    enqueue = ENQUEUE.format(folder=str(tmp_path), job=job)
    async with subscribe(server.port, f"imports.{job}", since="all") as stream:
        output = await asyncio.to_thread(
            manage, "shell", "-c", enqueue, redis_url=session_redis.url, folder=tmp_path
        )
        assert "SUCCESSFUL []" in output
        events = await events_until(stream, 1, of_type="imported")
    assert final_states(events) == ["done"]
    assert json.loads(events[-1].data) == {"rows": 3}

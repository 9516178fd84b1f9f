"""`carillon serve` and its workers: they share, and are replaced, and nobody sees a reset."""

import asyncio
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import httpx
import psutil
import pytest

from notifications.management.server.listener import listen
from tests.harness.event_source import subscribe
from tests.harness.manage import DEADLINE, Served, served
from tests.harness.servers import PUBLISH_KEY

AUTHORIZED = {"Authorization": f"Bearer {PUBLISH_KEY}"}
SUBSCRIBERS = 6


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def serve(request: pytest.FixtureRequest, project: dict[str, str]) -> Iterator[Served]:
    """Two workers, as each test leaves them too."""
    given = {**project, "CARILLON_DRAIN_SECONDS": "0.5"}
    with served("serve", "--server", request.param, "--workers", "2", environment=given) as serve:
        assert is_live(serve.port)
        assert len(serve.workers()) == 2
        yield serve
        assert serve.end() == 0
        assert "Traceback" not in serve.said


def is_live(port: int) -> bool:
    live = httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=DEADLINE)
    return live.status_code == 200


def pids(serve: Served) -> set[int]:
    return {worker.pid for worker in serve.workers()}


def test_who_waits_for_workers_that_are_killed_is_served_by_the_next(serve: Served) -> None:
    assert is_live(serve.port)
    workers = serve.workers()
    for worker in workers:
        worker.suspend()
    with socket.create_connection(("127.0.0.1", serve.port), timeout=DEADLINE) as waits:
        waits.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for worker in workers:
            worker.kill()
        assert waits.recv(65536).startswith(b"HTTP/1.1 200")
    for _ in workers:
        serve.says("worker.died (pid=)")
    assert all(is_live(serve.port) for _ in range(10))
    assert len(pids(serve)) == 2
    assert not pids(serve) & {worker.pid for worker in workers}


def test_one_that_is_killed_before_it_started_is_replaced_when_another_did_start(
    project: dict[str, str],
) -> None:
    with served("serve", "--workers", "2", environment=project) as serve, ExitStack() as stack:
        assert serve.port
        slow = _first(serve)
        slow.suspend()
        asking = [
            stack.enter_context(socket.create_connection(("127.0.0.1", serve.port), DEADLINE))
            for _ in range(16)  # of which the other worker has some
        ]
        for connection in asking:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert select.select(asking, [], [], DEADLINE)[0]
        slow.kill()
        serve.says("worker.died (pid=)")
        for connection in asking:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def _first(serve: Served) -> psutil.Process:
    deadline = time.monotonic() + DEADLINE
    while not (workers := serve.workers()):
        assert time.monotonic() < deadline
    return workers[0]


async def test_a_worker_that_somebody_ends_is_replaced_first(serve: Served) -> None:
    async with subscribe(serve.port, "demo.x") as stream:
        assert (await stream.next()).type == "stream.cursor"
        workers = serve.workers()
        for worker in workers:
            worker.terminate()
        for _ in workers:
            serve.says("(worker.replaced)")  # which takes as long as two starts
        told = [event.data async for event in stream if event.type == "stream.closing"]
        assert told == ['{"reason":"draining"}']
    assert psutil.wait_procs(workers, DEADLINE)[1] == []
    assert is_live(serve.port)
    assert len(pids(serve)) == 2


class Readers:
    """Subscribers that come back as a browser does, but at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.heard: list[list[str]] = [[] for _ in range(SUBSCRIBERS)]
        self.ends = 0
        self.unexplained = 0
        self._all = asyncio.Condition()

    async def read(self, number: int) -> None:
        cursor = None
        while True:
            told = ""
            async with subscribe(self._port, "demo.x", cursor=cursor) as stream:
                async for event in stream:
                    cursor = event.id or cursor
                    told = event.type
                    if not told.startswith("stream."):
                        async with self._all:
                            self.heard[number].append(event.data)
                            self._all.notify_all()
            self.ends += 1
            self.unexplained += told != "stream.closing"

    async def have(self, event: str) -> None:
        async with asyncio.timeout(DEADLINE), self._all:
            await self._all.wait_for(lambda: all(event in heard for heard in self.heard))


class Publisher:
    """Publishes all the time, on connections of its own that are kept, and on fresh ones."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/publish/"
        self._numbers = count()
        self.published: list[str] = []
        self._enough = asyncio.Event()

    async def publish(self, client: httpx.AsyncClient) -> str:
        data = str(next(self._numbers))
        form = {"topic": "demo.x", "data": data}
        answer = await client.post(self._url, data=form, headers=AUTHORIZED)
        assert answer.status_code == 201, answer
        self.published.append(data)
        return data

    async def kept(self) -> None:
        async with httpx.AsyncClient(timeout=DEADLINE) as client:
            while not self._enough.is_set():
                await self.publish(client)

    async def fresh(self) -> None:
        while not self._enough.is_set():
            async with httpx.AsyncClient(timeout=DEADLINE) as client:
                await self.publish(client)

    def stop(self) -> None:
        self._enough.set()


async def test_a_rolling_restart_loses_and_repeats_nothing_and_refuses_nobody(
    serve: Served,
) -> None:
    readers, publisher = Readers(serve.port), Publisher(serve.port)
    reading = [asyncio.create_task(readers.read(number)) for number in range(SUBSCRIBERS)]
    publishing = asyncio.gather(publisher.kept(), publisher.fresh())
    before = serve.workers()
    serve.popen.send_signal(signal.SIGHUP)
    await asyncio.to_thread(_all_replaced, serve, before)
    publisher.stop()
    async with asyncio.timeout(DEADLINE):
        await publishing
        async with httpx.AsyncClient(timeout=DEADLINE) as client:
            last = await publisher.publish(client)
        await readers.have(last)
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    longest = max(readers.heard, key=len)
    for heard in readers.heard:
        # Those who joined later began later; what each heard is whole, in the log's order.
        assert heard == longest[-len(heard) :]
    assert len(set(longest)) == len(longest)
    assert set(longest) <= set(publisher.published)
    assert readers.ends >= 1
    assert readers.unexplained == 0


def _all_replaced(serve: Served, before: list[psutil.Process]) -> None:
    for _ in before:
        serve.says("(worker.replaced)")
    assert psutil.wait_procs(before, DEADLINE)[1] == []
    assert not pids(serve) & {worker.pid for worker in before}


def test_workers_do_not_outlive_a_killed_master(project: dict[str, str]) -> None:
    with served("serve", "--workers", "2", environment=project) as serve:
        port = serve.port
        assert is_live(port)
        workers = serve.workers()
        serve.end(signal.SIGKILL)
        assert psutil.wait_procs(workers, DEADLINE)[1] == []
        listen("127.0.0.1", port).close()


async def test_a_second_signal_ends_it_at_once(project: dict[str, str]) -> None:
    given = {**project, "CARILLON_DRAIN_SECONDS": "300"}
    with served("serve", environment=given) as serve:
        async with subscribe(serve.port, "demo.x") as stream:
            assert (await stream.next()).type == "stream.cursor"
            workers = serve.workers()
            serve.popen.send_signal(signal.SIGTERM)
            serve.says("(drain.started)")
            assert serve.end(signal.SIGINT) == 128 + signal.SIGINT
        assert psutil.wait_procs(workers, DEADLINE)[1] == []
        assert "Traceback" not in serve.said


def test_what_cannot_start_ends_and_says_why(project: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from config.settings import *\nASGI_APPLICATION = 'nowhere.application'\n"
    )
    path = os.pathsep.join([str(tmp_path), project["PYTHONPATH"]])
    given = {**project, "DJANGO_SETTINGS_MODULE": "broken", "PYTHONPATH": path}
    with served("serve", environment=given) as serve:
        serve.says("(No module named 'nowhere')")
        assert serve.wait() == 1
        assert "CommandError: Nothing serves: what is wrong is said above." in serve.said

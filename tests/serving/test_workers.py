"""`carillon serve` and its workers: they share a port and are replaced, and no client is reset."""

import asyncio
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from itertools import count
from pathlib import Path

import httpx
import psutil
import pytest

from notifications.management.server.listener import listen
from tests.harness.event_source import subscribe
from tests.harness.manage import DEADLINE_SECONDS, CarillonProcess, carillon_process
from tests.harness.servers import PUBLISH_KEY

AUTHORIZED = {"Authorization": f"Bearer {PUBLISH_KEY}"}
SUBSCRIBERS = 6


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def serve(request: pytest.FixtureRequest, project: dict[str, str]) -> Iterator[CarillonProcess]:
    """Two workers, and each test leaves two workers too."""
    environment = {**project, "CARILLON_DRAIN_SECONDS": "0.5"}
    with carillon_process(
        "serve", "--server", request.param, "--workers", "2", environment=environment
    ) as serve:
        assert is_live(serve.port)
        assert len(serve.workers()) == 2
        yield serve
        assert serve.end() == 0
        assert "Traceback" not in serve.output
        assert "server.cuts_streams" not in serve.output


def is_live(port: int) -> bool:
    live = httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=DEADLINE_SECONDS)
    return live.status_code == 200


def pids(serve: CarillonProcess) -> set[int]:
    return {worker.pid for worker in serve.workers()}


def test_a_client_that_waits_for_killed_workers_is_served_by_the_next_ones(
    serve: CarillonProcess,
) -> None:
    assert is_live(serve.port)
    workers = serve.workers()
    for worker in workers:
        worker.suspend()
    with socket.create_connection(("127.0.0.1", serve.port), timeout=DEADLINE_SECONDS) as waiting:
        waiting.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for worker in workers:
            worker.kill()
        assert waiting.recv(65536).startswith(b"HTTP/1.1 200")
    for _ in workers:
        serve.wait_for("worker.died (pid=)")
    assert all(is_live(serve.port) for _ in range(10))
    assert len(pids(serve)) == 2
    assert not pids(serve) & {worker.pid for worker in workers}


def test_a_worker_killed_before_it_started_is_replaced_if_another_has_started(
    project: dict[str, str],
) -> None:
    with (
        carillon_process("serve", "--workers", "2", environment=project) as serve,
        ExitStack() as stack,
    ):
        assert serve.port
        slow = _first_worker(serve)
        slow.suspend()
        clients = [
            stack.enter_context(
                socket.create_connection(("127.0.0.1", serve.port), DEADLINE_SECONDS)
            )
            for _ in range(16)  # of which the other worker serves some
        ]
        for connection in clients:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert select.select(clients, [], [], DEADLINE_SECONDS)[0]
        slow.kill()
        serve.wait_for("worker.died (pid=)")
        for connection in clients:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def _first_worker(serve: CarillonProcess) -> psutil.Process:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (workers := serve.workers()):
        assert time.monotonic() < deadline
    return workers[0]


async def test_a_worker_that_gets_sigterm_is_replaced_before_it_exits(
    serve: CarillonProcess,
) -> None:
    async with subscribe(serve.port, "demo.x") as stream:
        assert (await stream.next()).type == "stream.cursor"
        workers = serve.workers()
        await asyncio.to_thread(_wait_until_they_read_the_log, workers)
        for worker in workers:
            worker.terminate()
        for _ in workers:
            serve.wait_for("(worker.replaced)")  # which takes as long as two starts
        closing = [event.data async for event in stream if event.type == "stream.closing"]
        assert closing == ['{"reason":"draining"}']
    assert psutil.wait_procs(workers, DEADLINE_SECONDS)[1] == []
    assert is_live(serve.port)
    assert len(pids(serve)) == 2


def _wait_until_they_read_the_log(workers: list[psutil.Process]) -> None:
    """A worker that still starts would end at SIGTERM, unlike one whose connection to Redis shows
    that its event loop runs. A test before this one may have had workers replaced."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not all(ports_of(worker) for worker in workers):
        assert time.monotonic() < deadline


_topics = count()


def new_topic() -> str:
    """A worker may not have read yet what a test before this one has published last."""
    return f"demo.x.{next(_topics)}"


class Readers:
    """Subscribers that reconnect as a browser does, but at once."""

    def __init__(self, port: int, topic: str) -> None:
        self._port, self._topic = port, topic
        self.received: list[list[str]] = [[] for _ in range(SUBSCRIBERS)]
        self.ends = 0
        self.unexplained_ends = 0
        self._arrival = asyncio.Condition()

    async def read(self, number: int) -> None:
        cursor = None
        while True:
            last_type = ""
            async with subscribe(self._port, self._topic, cursor=cursor) as stream:
                async for event in stream:
                    cursor = event.id or cursor
                    last_type = event.type
                    if not last_type.startswith("stream."):
                        async with self._arrival:
                            self.received[number].append(event.data)
                            self._arrival.notify_all()
            self.ends += 1
            self.unexplained_ends += last_type != "stream.closing"

    async def wait_for_first(self) -> None:
        """Wait until every subscriber has received an event, whichever."""
        async with asyncio.timeout(DEADLINE_SECONDS), self._arrival:
            await self._arrival.wait_for(lambda: all(self.received))

    async def wait_for(self, data: str) -> None:
        """Wait until every subscriber has received an event with this data."""
        async with asyncio.timeout(DEADLINE_SECONDS), self._arrival:
            await self._arrival.wait_for(lambda: all(data in events for events in self.received))


class Publisher:
    """Publishes without a pause, on a persistent connection and on new ones."""

    def __init__(self, port: int, topic: str) -> None:
        self._url = f"http://127.0.0.1:{port}/publish/"
        self._topic = topic
        self._numbers = count()
        self.published: list[str] = []
        self._stopped = asyncio.Event()

    async def publish(self, client: httpx.AsyncClient) -> str:
        data = str(next(self._numbers))
        form = {"topic": self._topic, "data": data}
        response = await client.post(self._url, data=form, headers=AUTHORIZED)
        assert response.status_code == 201, response
        self.published.append(data)
        return data

    async def publish_persistently(self) -> None:
        async with httpx.AsyncClient(timeout=DEADLINE_SECONDS) as client:
            while not self._stopped.is_set():
                await self.publish(client)

    async def publish_on_new_connections(self) -> None:
        while not self._stopped.is_set():
            async with httpx.AsyncClient(timeout=DEADLINE_SECONDS) as client:
                await self.publish(client)

    def stop(self) -> None:
        self._stopped.set()


async def test_a_rolling_restart_loses_and_repeats_no_event_and_refuses_no_client(
    serve: CarillonProcess,
) -> None:
    topic = new_topic()
    readers, publisher = Readers(serve.port, topic), Publisher(serve.port, topic)
    reading = [asyncio.create_task(readers.read(number)) for number in range(SUBSCRIBERS)]
    publishing = asyncio.gather(
        publisher.publish_persistently(), publisher.publish_on_new_connections()
    )
    before = serve.workers()
    serve.popen.send_signal(signal.SIGHUP)
    await asyncio.to_thread(_wait_until_replaced, serve, before)
    publisher.stop()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await publishing
        async with httpx.AsyncClient(timeout=DEADLINE_SECONDS) as client:
            last = await publisher.publish(client)
        await readers.wait_for(last)
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    longest = max(readers.received, key=len)
    for received in readers.received:
        # A later subscriber starts later. What each received is complete and in the log's order.
        assert received == longest[-len(received) :]
    assert len(set(longest)) == len(longest)
    assert set(longest) <= set(publisher.published)
    assert readers.ends >= 1
    assert readers.unexplained_ends == 0


class PersistentPublisher(Publisher):
    """Publishes again, with the same key, what was not acknowledged."""

    async def publish(self, client: httpx.AsyncClient) -> str:
        data = str(next(self._numbers))
        event = {"topic": self._topic, "data": data, "idempotency_key": f"{id(self)}-{data}"}
        while True:
            try:
                response = await client.post(self._url, json=event, headers=AUTHORIZED)
            except httpx.TransportError:
                continue  # the worker was killed
            assert response.status_code in {200, 201}, response.text
            self.published.append(data)
            return data


@pytest.mark.usefixtures("loop_without_debug")
async def test_kill_9_of_a_worker_under_load_loses_nothing_and_leaves_other_streams_alone(
    serve: CarillonProcess,
) -> None:
    topic = new_topic()
    readers, publisher = Readers(serve.port, topic), PersistentPublisher(serve.port, topic)
    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(subscribe(serve.port, topic))
            for _ in range(SUBSCRIBERS)
        ]
        for stream in streams:
            assert (await stream.next()).type == "stream.cursor"
        reading = [asyncio.create_task(readers.read(number)) for number in range(SUBSCRIBERS)]
        publishing = asyncio.gather(
            publisher.publish_persistently(), publisher.publish_on_new_connections()
        )
        before = serve.workers()
        killed = before[0]
        await readers.wait_for_first()  # a reader may come too late for the first of the others
        await _next_acknowledged(publisher)
        of_others = [stream for stream in streams if stream.local_port not in ports_of(killed)]
        killed.kill()
        await asyncio.to_thread(serve.wait_for, "worker.died (pid=)")
        await _next_acknowledged(publisher)
        publisher.stop()
        async with asyncio.timeout(2 * DEADLINE_SECONDS):  # until the next worker has started
            await publishing
            async with httpx.AsyncClient(timeout=DEADLINE_SECONDS) as client:
                last = await publisher.publish(client)
            await readers.wait_for(last)
            for stream in of_others:  # on its first connection, and without a gap
                received = [(await stream.next_event()).data]
                while received[-1] != last:
                    received.append((await stream.next_event()).data)
                assert len(set(received)) == len(received)
                assert set(publisher.published) <= set(received)
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    longest = max(readers.received, key=len)
    for received in readers.received:
        assert received == longest[-len(received) :]
    assert len(set(longest)) == len(longest)
    await asyncio.to_thread(_wait_for_workers, serve, 2)
    assert killed.pid not in pids(serve)
    assert {worker.pid for worker in before[1:]} < pids(serve)


def ports_of(worker: psutil.Process) -> set[int]:
    """The ports to which this worker is connected: of its clients, and of Redis.

    Linux may leave out a connection while others come and go in its table, so this reads it twice.
    """
    readings = [worker.net_connections() for _ in range(2)]
    return {each.raddr.port for reading in readings for each in reading if each.raddr}


async def _next_acknowledged(publisher: Publisher) -> str:
    count = len(publisher.published)
    async with asyncio.timeout(2 * DEADLINE_SECONDS):
        while len(publisher.published) == count:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
    return publisher.published[-1]


def _wait_for_workers(serve: CarillonProcess, count: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(serve.workers()) != count:
        assert time.monotonic() < deadline


def _wait_until_replaced(serve: CarillonProcess, before: list[psutil.Process]) -> None:
    for _ in before:
        serve.wait_for("(worker.replaced)")
    assert psutil.wait_procs(before, DEADLINE_SECONDS)[1] == []
    assert not pids(serve) & {worker.pid for worker in before}


def test_workers_do_not_outlive_a_killed_supervisor(project: dict[str, str]) -> None:
    with carillon_process("serve", "--workers", "2", environment=project) as serve:
        port = serve.port
        assert is_live(port)
        workers = serve.workers()
        serve.end(signal.SIGKILL)
        assert psutil.wait_procs(workers, DEADLINE_SECONDS)[1] == []
        [[listener]] = listen("127.0.0.1", port)
        listener.close()


def test_a_server_that_cannot_start_exits_with_the_reason(
    project: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(
        "from config.settings import *\nASGI_APPLICATION = 'nowhere.application'\n"
    )
    path = os.pathsep.join([str(tmp_path), project["PYTHONPATH"]])
    environment = {**project, "DJANGO_SETTINGS_MODULE": "broken", "PYTHONPATH": path}
    with carillon_process("serve", environment=environment) as serve:
        serve.wait_for("(No module named 'nowhere')")
        assert serve.wait() == 1
        assert "CommandError: No worker could start: the reason is above." in serve.output

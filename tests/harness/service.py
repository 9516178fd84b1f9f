"""The service under test: `carillon serve` with two workers, on its own Redis behind a relay."""

import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.harness.manage import workers_of
from tests.harness.redis_faults import FaultyRedis, faulty_redis
from tests.harness.servers import environment, free_port, migrate
from tests.harness.warm import python_process

DEADLINE_SECONDS = 90.0
POLL_SECONDS = 0.02
WORKERS = 2
SETTINGS = {
    "CARILLON_KEEPALIVE": "0.5",
    "CARILLON_DRAIN_SECONDS": "0.5",
}


@dataclass
class Service:
    faulty_redis: FaultyRedis
    port: int
    popen: "subprocess.Popen[bytes]"
    log: Path

    def workers(self) -> list[psutil.Process]:
        return workers_of(self.popen)

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                log = self.log.read_text()[-3000:]
                raise TimeoutError(f"The condition was not met in time: {log}")
            time.sleep(POLL_SECONDS)


@contextmanager
def running_service(folder: Path, server: str) -> Iterator[Service]:
    port = free_port()
    with faulty_redis(folder / "redis") as redis:
        migrate(folder / "web")
        variables = environment(redis.network.url, folder / "web", SETTINGS | {"PORT": str(port)})
        log = folder / "web.log"
        command = ["manage.py", "carillon", "serve", "--workers", str(WORKERS), "--server", server]
        with log.open("ab") as out:
            popen = python_process(
                *command,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        service = Service(redis, port, popen, log)
        try:
            # Of a service whose first workers die before one has started, none would start.
            service.wait(lambda: log.read_text().count("window.loaded") >= WORKERS)
            yield service
        finally:
            workers = service.workers() if popen.poll() is None else []
            popen.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                popen.wait(DEADLINE_SECONDS)
            popen.kill()
            for worker in workers:
                with suppress(psutil.NoSuchProcess):
                    worker.kill()


def some_worker(service: Service, chance: random.Random) -> psutil.Process:
    """One of the workers. There is none for a moment after all of them were killed."""
    service.wait(lambda: bool(service.workers()))
    return chance.choice(service.workers())


def kill_worker(service: Service, chance: random.Random) -> None:
    with suppress(psutil.NoSuchProcess):
        some_worker(service, chance).kill()


def restart(service: Service) -> None:
    """A rolling restart, to its end: all workers are others.

    A worker that had just died is not replaced: its successor, after a pause, is another anyway.
    """
    before = set(service.workers())
    service.popen.send_signal(signal.SIGHUP)
    service.wait(
        lambda: len(workers := service.workers()) >= WORKERS and before.isdisjoint(workers)
    )


@contextmanager
def stopped_worker(service: Service, chance: random.Random) -> Iterator[None]:
    worker = some_worker(service, chance)
    with suppress(psutil.NoSuchProcess):
        worker.suspend()
    yield
    with suppress(psutil.NoSuchProcess):
        worker.resume()

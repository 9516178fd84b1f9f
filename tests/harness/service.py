"""What is soaked: `carillon serve` with two workers, on a Redis of its own behind a relay."""

import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.harness.redis_faults import Place, place
from tests.harness.servers import ROOT, environment, free_port, migrate

DEADLINE = 90.0
POLL = 0.02
SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "tests.faults.short_timeout_settings",
    "CARILLON_KEEPALIVE": "0.5",
    "CARILLON_DRAIN_SECONDS": "0.5",
}


@dataclass
class Service:
    place: Place
    port: int
    master: psutil.Process
    log: Path

    def workers(self) -> list[psutil.Process]:
        return self.master.children()

    def replaced(self) -> int:
        return len(re.findall("worker.replaced", self.log.read_text()))

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"It takes too long: {self.log.read_text()[-3000:]}")
            time.sleep(POLL)


@contextmanager
def service(folder: Path, server: str) -> Iterator[Service]:
    port = free_port()
    with place(folder / "redis") as where:
        migrate(folder / "web")
        given = environment(where.network.url, folder / "web", SETTINGS | {"PORT": str(port)})
        log = folder / "web.log"
        command = ["manage.py", "carillon", "serve", "--workers", "2", "--server", server]
        with log.open("ab") as out:
            popen = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=given,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        soaked = Service(where, port, psutil.Process(popen.pid), log)
        try:
            soaked.wait(lambda: f":{port}/" in log.read_text())
            yield soaked
        finally:
            workers = soaked.workers()
            popen.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                popen.wait(DEADLINE)
            popen.kill()
            for worker in workers:
                with suppress(psutil.NoSuchProcess):
                    worker.kill()


def kill_worker(service: Service, chance: random.Random) -> None:
    with suppress(psutil.NoSuchProcess):
        chance.choice(service.workers()).kill()


def restart(service: Service, chance: random.Random) -> None:
    """A rolling one, to its end."""
    before = service.replaced()
    service.master.send_signal(signal.SIGHUP)
    service.wait(lambda: service.replaced() >= before + 2)


@contextmanager
def stopped_worker(service: Service, chance: random.Random) -> Iterator[None]:
    worker = chance.choice(service.workers())
    with suppress(psutil.NoSuchProcess):
        worker.suspend()
    yield
    with suppress(psutil.NoSuchProcess):
        worker.resume()

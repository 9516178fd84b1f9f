"""`./run soak`: random faults in real processes under load, and a verdict."""

import argparse
import asyncio
import os
import random
import secrets
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from benchmarks.soak.faults import RandomFaults  # noqa: E402
from benchmarks.soak.memory import Churn, MemoryWatch  # noqa: E402
from notifications.log.entries import Retention  # noqa: E402
from notifications.log.redis_sync import RedisSyncLog  # noqa: E402
from tests.harness.load import Subscriber, running_load  # noqa: E402
from tests.harness.publisher import HttpSender, LogSender, Publisher  # noqa: E402
from tests.harness.service import Service, running_service  # noqa: E402

TOPICS = "demo.one", "demo.two", "demo.three"
SUBSCRIBERS = 8
RETENTION = Retention(events=100_000, bytes=64 * 1024 * 1024, age=86_400)
VIOLATIONS_SHOWN = 50

began = time.monotonic()


def log(text: str) -> None:
    print(f"{time.monotonic() - began:8.1f} s  {text}", flush=True)


async def soak(service: Service, chance: random.Random, *, seconds: float) -> RandomFaults:
    url = service.faulty_redis.network.url
    appender = RedisSyncLog(url, prefix="carillon", retention=RETENTION, timeout=1)
    with closing(appender):
        subscribers = [
            Subscriber(
                f"subscriber {number}", [service.port], chance.sample(TOPICS, 1 + number % 2)
            )
            for number in range(SUBSCRIBERS)
        ]
        publishers = [
            Publisher("with keys", TOPICS[0], HttpSender(service.port), keys=True),
            Publisher("without", TOPICS[1], HttpSender(service.port), keys=False),
            Publisher("code with keys", TOPICS[2], LogSender(appender), keys=True),
            Publisher("code without", TOPICS[0], LogSender(appender), keys=False),
        ]
        async with running_load(subscribers, publishers) as load:
            memory = MemoryWatch(service.workers)
            faults = RandomFaults(service, load, chance, log, memory=memory)
            churn = Churn(service.port)
            churning = asyncio.create_task(churn.run())
            await faults.run(seconds=seconds)
            churning.cancel()
        log(f"{churn.streams} streams came and went, workers grew by {memory.most_grown:.0f} MiB")
        return faults


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--server", choices=["daphne", "uvicorn"])
    parser.add_argument("--folder", type=Path, help="the folder for the logs of the processes")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    server = options.server or chance.choice(["daphne", "uvicorn"])
    folder = options.folder or Path(tempfile.mkdtemp(prefix="carillon-soak-"))
    log(f"seed {options.seed}, {server}, {options.minutes:g} minutes, logs in {folder}")
    with running_service(folder, server) as service:
        faults = asyncio.run(soak(service, chance, seconds=options.minutes * 60))
    for violation in faults.violations[:VIOLATIONS_SHOWN]:
        log(f"VIOLATION {violation}")
    verdict = "FAILED" if faults.violations else "PASSED"
    figures = f"{faults.faults} faults, {faults.acknowledged} acknowledged"
    log(f"{verdict}: {figures}, seed {options.seed}")
    return 1 if faults.violations else 0


if __name__ == "__main__":
    sys.exit(main())

"""`./run soak`: random faults in real processes under load, and a verdict."""

import argparse
import asyncio
import os
import random
import secrets
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from contextlib import closing  # noqa: E402

from benchmarks.soak.faults import Storm  # noqa: E402
from notifications.log.base import Retention  # noqa: E402
from notifications.log.redis_sync import RedisAppender  # noqa: E402
from tests.harness.crowd import Code, Http, Listener, Talker, crowd  # noqa: E402
from tests.harness.service import Service, service  # noqa: E402

TOPICS = "demo.one", "demo.two", "demo.three"
SUBSCRIBERS = 8
RETENTION = Retention(events=100_000, bytes=64 * 1024 * 1024, age=86_400)

began = time.monotonic()


def say(what: str) -> None:
    print(f"{time.monotonic() - began:8.1f} s  {what}", flush=True)


async def soak(service: Service, chance: random.Random, *, seconds: float) -> Storm:
    retention, url = RETENTION, service.place.network.url
    appender = RedisAppender(url, prefix="carillon", retention=retention, timeout=1)
    with closing(appender):
        listeners = [
            Listener(f"subscriber {number}", [service.port], chance.sample(TOPICS, 1 + number % 2))
            for number in range(SUBSCRIBERS)
        ]
        talkers = [
            Talker("with keys", TOPICS[0], Http(service.port), keys=True),
            Talker("without", TOPICS[1], Http(service.port), keys=False),
            Talker("code with keys", TOPICS[2], Code(appender), keys=True),
            Talker("code without", TOPICS[0], Code(appender), keys=False),
        ]
        async with crowd(listeners, talkers) as people:
            storm = Storm(service, people, chance, say)
            await storm.rage(seconds=seconds)
        return storm


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--server", choices=["daphne", "uvicorn"])
    parser.add_argument("--folder", type=Path, help="where logs are kept, if it fails")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    server = given.server or chance.choice(["daphne", "uvicorn"])
    folder = given.folder or Path(tempfile.mkdtemp(prefix="carillon-soak-"))
    say(f"seed {given.seed}, {server}, {given.minutes:g} minutes, logs in {folder}")
    with service(folder, server) as soaked:
        storm = asyncio.run(soak(soaked, chance, seconds=given.minutes * 60))
    for violation in storm.violations[:50]:
        say(f"VIOLATION {violation}")
    verdict = "FAILED" if storm.violations else "PASSED"
    say(f"{verdict}: {storm.faults} faults, {storm.published} acknowledged, seed {given.seed}")
    return 1 if storm.violations else 0


if __name__ == "__main__":
    sys.exit(main())

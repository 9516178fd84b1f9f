"""Data that arrives slowly: rows of bell ringing, and the parts of the loader's page."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator, Iterable

from django.utils import timezone

BELLS = 6
ROW_PAUSE_SECONDS = 0.3

type Row = tuple[int, ...]


def plain_hunt(bells: int = BELLS) -> Generator[Row]:
    """The rows of a plain hunt, from rounds to rounds: neighbours swap, pair by pair."""
    row = tuple(range(1, bells + 1))
    yield row
    for number in range(2 * bells):
        changed = list(row)
        for left in range(number % 2, bells - 1, 2):
            changed[left], changed[left + 1] = row[left + 1], row[left]
        row = tuple(changed)
        yield row


def slow_rows(pause_seconds: float = ROW_PAUSE_SECONDS) -> Generator[Row]:
    for row in plain_hunt():
        yield row
        time.sleep(pause_seconds)


async def aslow_rows(pause_seconds: float = ROW_PAUSE_SECONDS) -> AsyncGenerator[Row]:
    for row in plain_hunt():
        yield row
        await asyncio.sleep(pause_seconds)


# The parts of the loader's page. Each takes as long as a database or another service might.


async def peal() -> Iterable[str]:
    await asyncio.sleep(1.7)
    return [" ".join(map(str, row)) for row in plain_hunt(4)]


async def hour() -> Iterable[str]:
    await asyncio.sleep(0.5)
    left = 60 - timezone.localtime().minute
    return [f"The next hour strikes in {left} minute{'' if left == 1 else 's'}."]


async def ringers() -> Iterable[str]:
    await asyncio.sleep(1.1)
    return ["Ada on the treble", "Eve on the second", "Grace on the third", "Fabian on the tenor"]


async def clock() -> Iterable[str]:
    await asyncio.sleep(2.3)
    return [f"It is {timezone.localtime():%H:%M} {timezone.get_current_timezone_name()}."]

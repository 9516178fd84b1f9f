"""Something that takes its time: plain hunt, rung on six bells."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator

BELLS = 6
PAUSE = 0.3
"""Seconds from one row to the next."""

type Row = tuple[int, ...]


def plain_hunt(bells: int = BELLS) -> Generator[Row]:
    """The rows, from rounds to rounds: neighbours change places, pair by pair."""
    row = tuple(range(1, bells + 1))
    yield row
    for number in range(2 * bells):
        changed = list(row)
        for place in range(number % 2, bells - 1, 2):
            changed[place], changed[place + 1] = row[place + 1], row[place]
        row = tuple(changed)
        yield row


def ring(pause: float = PAUSE) -> Generator[Row]:
    for row in plain_hunt():
        yield row
        time.sleep(pause)


async def aring(pause: float = PAUSE) -> AsyncGenerator[Row]:
    for row in plain_hunt():
        yield row
        await asyncio.sleep(pause)

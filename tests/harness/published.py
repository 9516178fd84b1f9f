"""Reads the events that were published into the log of the current settings."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

from notifications.conf import get_settings
from notifications.log.entries import Entry
from notifications.log.factory import open_log

DEADLINE_SECONDS = 30.0


async def read_published() -> list[Entry]:
    async with open_log(get_settings()) as log:
        state = await log.state()
        async with aclosing(log.read(until=state.position)) as batches:
            return [entry async for batch in batches for entry in batch.entries]


def read_published_in_thread() -> list[Entry]:
    """As `read_published`, for a test that blocks: its own thread may run an event loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, read_published()).result(DEADLINE_SECONDS)


def published_data() -> list[str]:
    """The data of all events, as text; for a test that blocks."""
    return [entry.data.decode() for entry in read_published_in_thread()]

"""Reads the events that were published into the log of the current settings."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

from notifications.conf import get_settings
from notifications.log.factory import open_log
from notifications.log.records import Entry

DEADLINE_SECONDS = 60.0


async def read_published() -> list[Entry]:
    settings = get_settings()
    if settings.LOG != "memory":  # which log that is depends on all settings
        # A test of an outage has a short timeout, which is not for the one who looks on.
        settings = settings.model_copy(update={"PUBLISH_TIMEOUT": DEADLINE_SECONDS})
    async with open_log(settings) as log:
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

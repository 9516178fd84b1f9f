"""What a page may wait for: each takes as long as a database or a neighbour might."""

import asyncio
from collections.abc import Iterable

from django.utils import timezone

from demo.bells import plain_hunt


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

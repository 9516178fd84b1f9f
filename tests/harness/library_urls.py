"""The project's URLs, and a loader that is not done before a test has looked at it."""

import asyncio
from collections.abc import Iterable

from django.urls import path

from config.urls import *  # noqa: F403
from config.urls import urlpatterns
from demo.loader import Loader, Part

REST_SECONDS = 6.0


async def rest() -> Iterable[str]:
    await asyncio.sleep(REST_SECONDS)
    return ["It took its time."]


PARTS = (*Loader.parts, Part("rest", "The rest", rest))

urlpatterns = [path("examples/slow-loader/", Loader.as_view(parts=PARTS)), *urlpatterns]

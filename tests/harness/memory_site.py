"""A site that tells which objects of streams its process holds, with the collector switched off.

`/objects` answers how many objects there are of each of `KINDS`. `/end` ends all streams. `/large`
is more than the kernel takes for a client that does not read.
"""

import gc
import json
import os
from collections import Counter
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.harness.memory_settings")

import django

django.setup()

from notifications.asgi import get_asgi_application  # noqa: E402
from notifications.hub import runtime  # noqa: E402
from notifications.hub.subscribers import CloseReason  # noqa: E402
from notifications.transport.base import Receive, Send  # noqa: E402
from tests.harness.transport_site import send_json  # noqa: E402

KINDS = ("notifications.", "uvicorn.protocols.", "daphne.", "twisted.internet.tcp", "h11.")
TASKS = "_asyncio.Task"
LARGE = b'"%b"' % (b"x" * 8 * 2**20)
NOT_PER_STREAM = (
    *("notifications.asgi.middleware", "notifications.log.entries"),
    "notifications.hub.reports",  # the last thousand streams that ended are remembered
)

django_application = get_asgi_application()


def objects() -> Counter[str]:
    """How many objects of each kind exist that belong to streams or to their connections."""
    kinds = map(type, gc.get_objects())
    names = Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)
    return Counter(
        {
            name: number
            for name, number in names.items()
            if name == TASKS or (name.startswith(KINDS) and not name.startswith(NOT_PER_STREAM))
        }
    )


async def application(scope: Any, receive: Receive, send: Send) -> None:
    path = scope.get("path")
    if path == "/objects":
        if gc.isenabled():
            gc.collect()
            gc.freeze()  # what exists by now is not counted
            gc.disable()
        await send_json(send, json.dumps(objects()).encode())
    elif path == "/end":
        running = runtime.current()
        assert running is not None
        for subscriber in running.hub.subscribers:
            running.hub.close(subscriber, CloseReason.KICKED)
        await send_json(send, b"null")
    elif path == "/large":
        await send_json(send, LARGE)
    else:
        await django_application(scope, receive, send)

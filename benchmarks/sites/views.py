"""Two views that do nothing, in the middleware of our project: what Django takes by itself.

One opens a stream with a block. The other answers a POST, and gives its body to the streams.
"""

import asyncio
import os
from collections.abc import AsyncIterator

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
settings.ROOT_URLCONF = __name__
djangos = get_asgi_application()

# These imports need Django to be set up.
from notifications.asgi import get_asgi_application as get_our_application  # noqa: E402
from notifications.asgi.marker import nonblocking  # noqa: E402

ours = get_our_application()
_streams: set["asyncio.Queue[bytes]"] = set()


async def _blocks() -> AsyncIterator[bytes]:
    queue = asyncio.Queue[bytes]()
    _streams.add(queue)
    try:
        yield b": hello\n\n"
        while True:
            yield b"data: %s\n\n" % await queue.get()
    finally:
        _streams.discard(queue)


@nonblocking
async def events(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(_blocks(), content_type="text/event-stream")


@nonblocking
@csrf_exempt
async def publish(request: HttpRequest) -> JsonResponse:
    for queue in _streams:
        queue.put_nowait(request.body)
    return JsonResponse({"events": [{"id": "1"}]}, status=201)


async def up(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204)


urlpatterns = [path("events/", events), path("publish/", publish), path("up", up)]

"""The site of the tutorials: an async generator with a Redis pub/sub for each subscriber."""

import os
from collections.abc import AsyncIterator
from typing import Any

import redis.asyncio
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

settings.configure(
    SECRET_KEY="for the benchmark alone", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, MIDDLEWARE=[]
)
application = get_asgi_application()

REDIS_URL = os.environ["REDIS_URL"]
_publisher: Any = redis.asyncio.from_url(REDIS_URL)


async def events(request: HttpRequest) -> StreamingHttpResponse:
    async def stream() -> AsyncIterator[str]:
        client: Any = redis.asyncio.from_url(REDIS_URL)
        async with client.pubsub() as pubsub:
            await pubsub.subscribe("news")
            yield ": hello\n\n"
            async for message in pubsub.listen():
                if message["type"] == "message":
                    yield f"data: {message['data'].decode()}\n\n"

    headers = {"Cache-Control": "no-cache"}
    return StreamingHttpResponse(stream(), content_type="text/event-stream", headers=headers)


@csrf_exempt
async def publish(request: HttpRequest) -> HttpResponse:
    await _publisher.publish("news", request.body)
    return HttpResponse(status=204)


async def up(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204)


urlpatterns = [path("events/", events), path("publish/", publish), path("up", up)]

"""What a Python team writes without Django: FastAPI's own Server-Sent Events, and Redis pub/sub."""

import os
from collections.abc import AsyncIterator
from typing import Any

import redis.asyncio
from fastapi import FastAPI, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

application = FastAPI()
_redis: Any = redis.asyncio.from_url(os.environ["REDIS_URL"], max_connections=20_000)


async def events() -> AsyncIterator[ServerSentEvent]:
    async with _redis.pubsub() as pubsub:
        await pubsub.subscribe("news")
        yield ServerSentEvent(comment="hello")
        async for message in pubsub.listen():
            if message["type"] == "message":
                yield ServerSentEvent(raw_data=message["data"].decode())


async def publish(request: Request) -> Response:
    await _redis.publish("news", await request.body())
    return Response(status_code=204)


async def up() -> Response:
    return Response(status_code=204)


application.add_api_route("/events/", events, response_class=EventSourceResponse)
application.add_api_route("/publish/", publish, methods=["POST"])
application.add_api_route("/up", up)

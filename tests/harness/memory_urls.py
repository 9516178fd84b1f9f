"""Our project, and a view of a site that is not marked as nonblocking."""

import asyncio

from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from notifications import EventStreamResponse
from notifications.hub.grants import Grant
from notifications.transport.pollers import poller


async def granted() -> Grant:
    return Grant(topics=("demo.a",), subjects=("user:5",), renew=granted)


async def of_the_site(request: HttpRequest) -> EventStreamResponse:
    assert request.user is not None  # as a site would, this makes use of the request
    return EventStreamResponse(await granted())


async def held(request: HttpRequest) -> JsonResponse:
    """What this process holds for streams: its tasks, and the sockets that it watches."""
    return JsonResponse({"tasks": len(asyncio.all_tasks()), "sockets": len(poller())})


urlpatterns = [
    path("of-the-site/", of_the_site),
    path("held/", held),
    path("", include("config.urls")),
]

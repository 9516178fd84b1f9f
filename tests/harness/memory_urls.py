"""Our project, and a view of a site that is not marked as nonblocking."""

from django.http import HttpRequest
from django.urls import include, path

from notifications import EventStreamResponse
from notifications.hub.grants import Grant


async def granted() -> Grant:
    return Grant(topics=("demo.a",), subjects=("user:5",), renew=granted)


async def of_the_site(request: HttpRequest) -> EventStreamResponse:
    assert request.user is not None  # as a site would, this makes use of the request
    return EventStreamResponse(await granted())


urlpatterns = [path("of-the-site/", of_the_site), path("", include("config.urls"))]

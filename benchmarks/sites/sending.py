"""The common part of the sites with django-eventstream: settings, a topic, a way to publish."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt


def configure(urls: str, **more: Any) -> None:
    defaults: dict[str, Any] = {
        "SECRET_KEY": "for the benchmark alone",
        "ALLOWED_HOSTS": ["*"],
        "ROOT_URLCONF": urls,
        "MIDDLEWARE": [],
        "INSTALLED_APPS": [
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django_eventstream",
        ],
        "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    }
    settings.configure(**defaults | more)


@csrf_exempt
def publish(request: HttpRequest) -> HttpResponse:
    # The modules of django-eventstream read the settings when they are imported.
    from django_eventstream import send_event

    send_event("news", "message", request.body.decode(), json_encode=False)
    return HttpResponse(status=204)


async def up(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204)


def routes(streams: str) -> list[Any]:
    return [
        path("events/", include(streams), {"channels": ["news"]}),
        path("publish/", publish),
        path("up", up),
    ]

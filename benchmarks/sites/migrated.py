"""The site with django-eventstream, migrated: two settings, an include and our ASGI application."""

import os

from django.conf import settings

settings.configure(
    SECRET_KEY="for the benchmark alone",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_eventstream"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    EVENTSTREAM_STORAGE_CLASS="notifications.compat.eventstream.Storage",
    CARILLON={"REDIS_URL": os.environ["REDIS_URL"]},
)

from notifications.asgi import get_asgi_application  # noqa: E402

application = get_asgi_application()

# Its modules read the settings when they are imported.
import django_eventstream  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402


@csrf_exempt
def publish(request: HttpRequest) -> HttpResponse:
    data = request.body.decode()
    django_eventstream.send_event("news", "message", data, json_encode=False)
    return HttpResponse(status=204)


async def up(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204)


urlpatterns = [
    path("events/", include("notifications.compat.eventstream"), {"channels": ["news"]}),
    path("publish/", publish),
    path("up", up),
]

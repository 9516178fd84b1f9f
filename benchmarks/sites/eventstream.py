"""A site with django-eventstream, by its README: Redis between processes, no storage."""

import os

from django.core.asgi import get_asgi_application

from benchmarks.sites.sending import configure, routes

configure(
    __name__,
    EVENTSTREAM_REDIS={"host": "127.0.0.1", "port": int(os.environ["REDIS_PORT"]), "db": 0},
)
application = get_asgi_application()
urlpatterns = routes("django_eventstream.urls")

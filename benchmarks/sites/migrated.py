"""The site with django-eventstream, migrated: two settings, an include and our ASGI application."""

import os

from benchmarks.sites.sending import configure, routes

configure(
    __name__,
    EVENTSTREAM_STORAGE_CLASS="notifications.compat.eventstream.Storage",
    CARILLON={"REDIS_URL": os.environ["REDIS_URL"]},
)

from notifications.asgi import get_asgi_application  # noqa: E402

application = get_asgi_application()
urlpatterns = routes("notifications.compat.eventstream")

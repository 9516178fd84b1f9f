"""django-eventstream's API, settings and wire format, on this engine.

`EVENTSTREAM_STORAGE_CLASS = "notifications.compat.eventstream.Storage"`, and
`include("notifications.compat.eventstream")` in place of `django_eventstream.urls`.
"""

from django.urls import path

from notifications.compat.eventstream import proxy
from notifications.compat.eventstream.storage import Storage
from notifications.compat.eventstream.views import events

__all__ = ["Storage", "urlpatterns"]

# Whatever brings somebody here, the storage or the URLs, this process is one of ours now.
proxy.take_place()

urlpatterns = [path("", events)]

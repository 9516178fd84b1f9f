"""django-eventstream's API, settings and stream format, on our log and hub.

`EVENTSTREAM_STORAGE_CLASS = "notifications.compat.eventstream.Storage"`, and
`include("notifications.compat.eventstream")` in place of `django_eventstream.urls`.
"""

from django.urls import path

from notifications.compat.eventstream import proxy
from notifications.compat.eventstream.storage import Storage
from notifications.compat.eventstream.views import events

__all__ = ["Storage", "urlpatterns"]

# Either the storage class or the URLs import this package, in each process that sends or serves.
proxy.install()

urlpatterns = [path("", events)]

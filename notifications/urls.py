"""`path("", include("notifications.urls"))`: events/ and publish/, with or without a slash."""

from django.urls import path

from notifications.views.events import events
from notifications.views.publish import publish

app_name = "carillon"
urlpatterns = [
    path("events/", events, name="events"),
    path("events", events),
    path("publish/", publish, name="publish"),
    path("publish", publish),
]

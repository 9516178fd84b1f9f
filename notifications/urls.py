"""The URLs of streams, history and publishing: `path("", include("notifications.urls"))`."""

from django.urls import path

from notifications.views.events import events
from notifications.views.history.view import history
from notifications.views.publish import publish

app_name = "carillon"
urlpatterns = [
    path("events/", events, name="events"),
    path("events", events),
    path("events/history.csv", history("csv"), name="history-csv"),
    path("events/history.ndjson", history("ndjson"), name="history-ndjson"),
    path("events/history.json", history("json"), name="history-json"),
    path("publish/", publish, name="publish"),
    path("publish", publish),
]

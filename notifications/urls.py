"""The URLs of streams, history, publishing and inboxes.

`path("", include("notifications.urls"))`
"""

from django.apps import apps
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

if apps.is_installed("notifications.inbox"):
    from notifications.inbox.changes import Action
    from notifications.views.inbox import action, inbox
    from notifications.views.inbox_page import inbox_page
    from notifications.views.preferences import preferences, preferences_page
    from notifications.views.push import follow, forget, push, worker
    from notifications.views.unsubscribe import unsubscribe

    urlpatterns += [
        path("inbox/", inbox, name="inbox"),
        path("inbox", inbox),
        path("inbox/page/", inbox_page, name="inbox-page"),
        path("inbox/preferences", preferences, name="preferences"),
        path("inbox/preferences/", preferences),
        path("inbox/preferences/page/", preferences_page, name="preferences-page"),
        path("inbox/push", push, name="push"),
        path("inbox/push/", push),
        path("inbox/push/forget", forget, name="push-forget"),
        path("inbox/worker.js", worker, name="push-worker"),
        path("inbox/follow/<uuid:id>", follow, name="inbox-follow"),
        path("inbox/unsubscribe/<str:link>", unsubscribe, name="unsubscribe"),
        *(path(f"inbox/{each}", action(each), name=f"inbox-{each}") for each in Action),
    ]

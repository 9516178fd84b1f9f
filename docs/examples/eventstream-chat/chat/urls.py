from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

from chat import views

EVENTS = "notifications.compat.eventstream"

urlpatterns = [
    path("", views.room, {"room": "lobby"}),
    path("rooms/<room>/", views.room),
    path("rooms/<room>/messages/", views.say),
    path(
        "rooms/<room>/events/",
        include(EVENTS),
        {"format-channels": ["room-{room}", "typing-{room}"]},
    ),
    path("news/", include(EVENTS), {"channels": ["news"]}),
    path("channels/<channel>/events/", include(EVENTS)),
    path("events/", include(EVENTS)),
    *staticfiles_urlpatterns(),
]

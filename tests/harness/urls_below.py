"""A site that has the app somewhere below, and nothing else of the project."""

from django.urls import include, path

urlpatterns = [path("live/", include("notifications.urls"))]

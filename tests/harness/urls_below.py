"""URLs of a project that includes the app below a prefix, and has nothing else."""

from django.urls import include, path

urlpatterns = [path("live/", include("notifications.urls"))]

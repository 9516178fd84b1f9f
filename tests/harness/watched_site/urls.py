from django.urls import include, path

from tests.harness.watched_site import views

urlpatterns = [
    path("of-the-site/", views.stream),
    path("fails/", views.fail),
    path("", include("config.urls")),
]

"""The project's URLs: the page, the service, its health checks, the log-in, and the admin."""

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path

from config.docs_pages import docs_page
from notifications.views import health
from notifications.views.login import LoginView
from notifications.views.metrics import metrics
from notifications.views.openapi import openapi
from notifications.views.page import page

handler400 = "notifications.views.problems.bad_request"
handler403 = "notifications.views.problems.forbidden"
handler404 = "notifications.views.problems.not_found"
handler500 = "notifications.views.problems.server_error"

urlpatterns = [
    path("", page, name="page"),
    path("", include("notifications.urls")),
    path("examples/", include("demo.urls")),
    path("docs/", docs_page, name="docs"),
    path("docs/<str:name>", docs_page, name="document"),
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    path("health/publish", health.publish, name="health-publish"),
    path("health/outbox", health.outbox, name="health-outbox"),
    path("metrics", metrics, name="metrics"),
    path("openapi.json", openapi, name="openapi"),
    path("login/", LoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
]

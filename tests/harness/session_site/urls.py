from django.urls import include, path

from config.urls import urlpatterns as project
from tests.harness.session_site import views

urlpatterns = [
    *project,
    path("hijack/", include("hijack.urls")),
    path("impersonate/", include("impersonate.urls")),
    path("session/<str:action>/", views.change),
    path("session/<str:action>/<str:value>/", views.change),
    path("async/logout/", views.log_out),
]

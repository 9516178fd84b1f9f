from django.urls import path
from django_prometheus.exports import ExportToDjangoView

from config.urls import urlpatterns as project

urlpatterns = [path("site-metrics", ExportToDjangoView), *project]

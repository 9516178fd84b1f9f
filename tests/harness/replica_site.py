"""Settings, middleware and rules of a site that reads from a replica, by django-multidb-router."""

import os
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from config.settings import *  # noqa: F403
from config.settings import DATABASES, MIDDLEWARE
from config.variables import database

DATABASES["replica"] = {**DATABASES["default"], **database(os.environ["REPLICA_URL"])}
REPLICA_DATABASES = ["replica"]
DATABASE_ROUTERS = ["multidb.ReplicaRouter"]
if "READS_USER" in os.environ:
    MIDDLEWARE.append("tests.harness.replica_site.reads_the_user")


def reads_the_user(get_response: Callable[[HttpRequest], HttpResponse]) -> object:
    """Reads session, user and permissions before the view, as middleware of many sites does."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request.user.has_perm("auth.view_group")
        return get_response(request)

    return middleware

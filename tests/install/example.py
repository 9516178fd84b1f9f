"""The files of a user's site: before Carillon, and its tests and types with it."""

VIEWS = """\
from types import SimpleNamespace

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def page(request: HttpRequest) -> HttpResponse:
    return render(request, "page.html")


def pay(request: HttpRequest) -> HttpResponse:
    order = SimpleNamespace(owner=request.user)
    return HttpResponse("paid")
"""

URLS = """\
from django.urls import URLPattern, URLResolver, path

from mysite import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.page),
    path("pay/", views.pay),
]
"""

SETTINGS = """
ROOT_URLCONF = "mysite.urls"
ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]
"""

TEMPLATES = {
    "base.html": """\
<!doctype html>
<html lang="en"><title>My site</title>
{% block content %}{% endblock %}
</html>
""",
    "page.html": """\
{% extends "base.html" %}
{% block content %}
<h1>My page</h1>
<script>
</script>
{% endblock %}
""",
}

MAKE_USER = """
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
user = User.objects.create_user("ada")
session = SessionStore()
session["_auth_user_id"] = str(user.pk)
session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
session["_auth_user_hash"] = user.get_session_auth_hash()
session.save()
print(session.session_key)
"""

TESTS = """\
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import AsyncClient, TestCase

from notifications import user_topic
from notifications.testing import OutboxMixin, assert_published, outbox, read_events


class PayingTests(OutboxMixin, TestCase):
    user: User

    @classmethod
    def setUpTestData(cls) -> None:
        cls.user = User.objects.create_user("ada")

    def pay(self) -> None:
        self.client.force_login(self.user)
        with self.captureOnCommitCallbacks(execute=True):
            self.client.get("/pay/")
            assert list(outbox) == []

    def test_the_owner_is_notified(self) -> None:
        self.pay()
        assert_published(user_topic(self.user), {"text": "Paid"}, count=1)

    async def test_the_owner_receives_the_event(self) -> None:
        client = AsyncClient()
        await client.aforce_login(self.user)
        response = await client.get("/events/")
        await sync_to_async(self.pay)()
        [event] = await read_events(response, 1)
        assert event.data == '{"text":"Paid"}'
"""

# The rest of the public interface, so that mypy checks its types.
STREAMS = """\
import logging

from django.http import HttpRequest

from notifications import CarillonError, Event, apublish, apublish_many, publish, publish_many
from notifications.asgi.responses import EventStreamResponse
from notifications.hub.subscribers import Start

logger = logging.getLogger(__name__)


async def orders(request: HttpRequest, pk: int) -> EventStreamResponse:
    return EventStreamResponse([f"orders.{pk}"], start=Start(since_ms=0), envelope=True)


async def announce(text: str) -> str | None:
    event: Event = await apublish(["news", "sport"], {"text": text}, type="text", id="a")
    events: list[Event] = await apublish_many([event])
    return events[0].cursor


def announce_all(texts: list[str]) -> list[Event]:
    try:
        publish("news", texts, idempotency_key="once", fail_silently=True)
        return publish_many(Event(topics=["news"], data=text) for text in texts)
    except CarillonError as error:
        logger.warning("%s: %s", error.code, error.detail)
        return []
"""

CONFTEST = 'pytest_plugins = ["notifications.testing.pytest_plugin"]\n'

PYTEST_TESTS = """\
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient, Client

from notifications import publish, user_topic
from notifications.testing import Outbox, assert_published, read_events


def test_the_owner_is_notified(
    carillon_outbox: Outbox,
    admin_client: Client,
    admin_user: User,
    django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[Any]],
) -> None:
    assert not carillon_outbox
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.get("/pay/")
    assert_published(user_topic(admin_user), {"text": "Paid"}, count=1)
    assert carillon_outbox[-1].data == {"text": "Paid"}


@pytest.mark.asyncio
async def test_all_receive_the_news(carillon_outbox: Outbox, async_client: AsyncClient) -> None:
    response = await async_client.get("/events/?topic=news")
    publish("news", {"text": "one"})
    publish("news", {"text": "two"}, type="late")
    events = [(event.type, event.data) for event in await read_events(response, 2)]
    assert events == [("message", '{"text":"one"}'), ("late", '{"text":"two"}')]
"""

PYTEST_INI = """\
[pytest]
DJANGO_SETTINGS_MODULE = mysite.settings
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""

MYPY_INI = """\
[mypy]
strict = true
plugins = mypy_django_plugin.main
[mypy.plugins.django-stubs]
django_settings_module = mysite.settings
"""

MEMORY_SETTINGS = """\
from mysite.settings import *
CARILLON = {"LOG": "memory"}
"""

STOCK_SETTINGS = """\
from mysite.settings import *
ASGI_APPLICATION = "mysite.stock_asgi.application"
"""

# A site that stays on WSGI; the settings of docs/install.md are appended.
WSGI_SETTINGS = """\
from mysite.settings import *
del ASGI_APPLICATION
INSTALLED_APPS = [app for app in INSTALLED_APPS if app not in ("daphne", "notifications")]
"""

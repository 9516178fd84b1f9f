"""The operator's page and the outbox in the admin, by permission."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import Settings as DjangoSettings

from notifications import publish_outbox
from notifications.errors import Unavailable
from notifications.models import OutboxEvent
from notifications.publishing.outbox import table
from tests.unit.test_admin import browser_of, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_log")]

LIVE, OUTBOX = "/admin/carillon/livestream/", "/admin/carillon/outboxevent/"


@pytest.fixture(autouse=True)
def _nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.hub.questions.ANSWER_SECONDS", 0.01)


def operator(*codenames: str) -> Client:
    user = User.objects.create_user("ada", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return browser_of(user)


@pytest.mark.parametrize("path", [LIVE, OUTBOX])
def test_only_who_has_the_permission_sees_it(path: str) -> None:
    assert operator("view_apikey").get(path).status_code == 403
    assert "carillon/livestream" not in text_of(Client().get("/admin/", follow=True))


def test_who_may_only_look_can_end_and_publish_nothing() -> None:
    browser = operator("view_livestream")
    text = text_of(browser.get(LIVE, {"topic": "news"}))
    assert "End these streams" not in text
    assert "Publish" not in text
    assert "No process has reported" in text
    for fields in ({"topic": "news"}, {"user": "1"}, {"publish": "1", "topic": "a", "data": "b"}):
        assert browser.post(LIVE, fields).status_code == 403
    assert "carillon/livestream" in text_of(browser.get("/admin/"))
    assert browser.get(f"{LIVE}add/").status_code == 403


def test_each_further_permission_allows_what_it_names() -> None:
    browser = operator("view_livestream", "change_livestream", "publish_event")
    text = text_of(browser.get(LIVE, {"topic": "news"}))
    assert "End these streams" in text
    assert "Publish an event" in text
    text = text_of(browser.post(LIVE, {"topic": "news"}, follow=True))
    assert "The streams of news end now." in text
    fields = {"publish": "1", "topic": "news", "data": "plain"}
    assert "Published to news" in text_of(browser.post(LIVE, fields, follow=True))
    text = text_of(browser.post(LIVE, {**fields, "topic": "x" * 300}, follow=True))
    assert 'class="error"' in text
    assert browser.post(LIVE, {}, follow=True).status_code == 200


def test_while_the_log_is_away_the_page_has_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(subject: str) -> None:
        raise Unavailable("Redis cannot be reached.", outcome="not_sent")

    monkeypatch.setattr("notifications.admin.operations.ask", away)
    assert "Redis cannot be reached." in text_of(operator("view_livestream").get(LIVE))


def test_tenants_do_not_see_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.admin.operations.namespaces.current", lambda: "one")
    assert operator("view_livestream").get(LIVE).status_code == 403


def test_refused_events_are_tried_again(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "OUTBOX_DATABASES": ["default"]}
    publish_outbox("news", {"n": 1})
    publish_outbox("news", "waiting")
    refused = OutboxEvent.objects.order_by("pk").first()
    assert refused is not None
    table.outbox_events().objects.filter(pk=refused.pk).update(
        refused_at=refused.created_at, refusal="too large"
    )
    looker = operator("view_livestream")
    assert "too large" in text_of(looker.get(OUTBOX, {"state": "refused"}))
    assert "too large" not in text_of(looker.get(OUTBOX, {"state": "waiting"}))
    assert "{&quot;n&quot;:1}" in text_of(looker.get(f"{OUTBOX}{refused.pk}/change/"))
    again = {"action": "retry", "_selected_action": [refused.pk]}
    looker.post(OUTBOX, again)
    assert OutboxEvent.objects.exclude(refused_at=None).exists()
    User.objects.get(username="ada").user_permissions.add(
        Permission.objects.get(codename="change_livestream")
    )
    assert "tries 1 of them again" in text_of(looker.post(OUTBOX, again, follow=True))
    assert not OutboxEvent.objects.exclude(refused_at=None).exists()
    waiting = f"{OUTBOX}{refused.pk}/delete/"
    assert looker.get(waiting).status_code == 403

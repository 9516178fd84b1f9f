"""`/inbox/push` and what a browser needs beside it: the worker, and where a click leads."""

from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import DatabaseError
from django.test import Client as DjangoClient
from django.test import RequestFactory
from django.utils import translation
from pytest_django import Settings as DjangoSettings

from notifications import notify
from notifications.inbox import Push, kind
from notifications.inbox.models import Device, Notification
from notifications.inbox.push import offer
from notifications.inbox.push.devices import unsubscribe
from notifications.inbox.push.sessions import Subscribed, subscribed
from tests.harness.push_service import CURVE, from_base64url
from tests.unit.inbox.inboxes import Inboxes
from tests.unit.inbox.pushing import Pushing, pushing
from tests.unit.inbox.shop import no_kinds
from tests.unit.inbox.test_views import client, post

__all__ = ["client", "pushing"]
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def devices() -> set[tuple[str, str]]:
    return {(each.recipient.username, each.endpoint) for each in Device.objects.all()}


# Subscribing


def test_a_browser_subscribes_with_the_key_of_the_site_and_unsubscribes(
    inboxes: Inboxes, client: DjangoClient, pushing: Pushing
) -> None:
    answer = client.get("/inbox/push")
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    key = answer.json()["key"]
    ec.EllipticCurvePublicKey.from_encoded_point(CURVE, from_base64url(key))
    device = pushing.service.device()
    for _ in range(2):
        assert post(client, "push", device.subscription).json() == {"key": key}
        assert devices() == {("ada", device.endpoint)}
    for _ in range(2):
        assert post(client, "push/forget", {"endpoint": device.endpoint}).json() == {"key": key}
        assert devices() == set()


def test_the_bell_knows_whether_its_browser_is_a_device(
    inboxes: Inboxes, client: DjangoClient, pushing: Pushing
) -> None:
    def answer() -> Subscribed:
        request = RequestFactory().get("/")
        request.session, request.user = client.session, inboxes.ada
        return subscribed(request)

    mine = pushing.service.device()
    assert answer() == Subscribed.NOT_YET
    post(client, "push", mine.subscription)
    assert answer() == Subscribed.NOW
    pushing.device_of(inboxes.ada)
    unsubscribe(inboxes.ada, mine.endpoint)
    assert answer() == Subscribed.NO_MORE
    post(client, "push", mine.subscription)
    assert answer() == Subscribed.NOW


def test_who_logs_out_takes_the_devices_of_that_session_along(
    inboxes: Inboxes, client: DjangoClient, pushing: Pushing
) -> None:
    mine, elsewhere = pushing.service.device(), pushing.device_of(inboxes.ada)
    post(client, "push", mine.subscription)
    assert devices() == {("ada", mine.endpoint), ("ada", elsewhere.endpoint)}
    client.logout()
    assert devices() == {("ada", elsewhere.endpoint)}


def test_a_database_that_is_away_lets_a_person_log_out(
    inboxes: Inboxes, client: DjangoClient, pushing: Pushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(client, "push", pushing.service.device().subscription)

    def away(*_: Any) -> None:
        raise DatabaseError

    monkeypatch.setattr("notifications.inbox.push.sessions.devices", away)
    client.logout()
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"endpoint": "https://elsewhere.example/push"}, "PUSH_SERVICES"),
        ({"endpoint": 1}, "endpoint"),
        ({"endpoint": "x" * 3_000}, "endpoint"),
        ({"keys": {"p256dh": "AAAA", "auth": "AAAA"}}, "no message can be encrypted"),
        ({"keys": {"p256dh": "B" + "A" * 86, "auth": "A" * 22}}, "no message can be encrypted"),
        ({"keys": {"p256dh": "ü" * 20, "auth": "A" * 22}}, "no message can be encrypted"),
        ({"keys": {"p256dh": "A" * 200, "auth": "A"}}, "keys.p256dh"),
        ({"keys": None}, "keys"),
        ({"topic": "news"}, "there is no such parameter"),
    ],
)
def test_what_is_no_subscription_is_a_problem_and_keeps_nothing(
    inboxes: Inboxes, client: DjangoClient, pushing: Pushing, change: dict[str, Any], words: str
) -> None:
    answer = post(client, "push", {**pushing.service.device().subscription, **change})
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert words in answer.json()["detail"]
    assert devices() == set()


def test_nobody_another_page_and_other_methods_are_refused(
    inboxes: Inboxes, client: DjangoClient, pushing: Pushing
) -> None:
    subscription = pushing.service.device().subscription
    assert post(DjangoClient(), "push", subscription).status_code == 401
    answer = post(client, "push", subscription, **{"X-CSRFToken": "b" * 32})
    assert answer.status_code == 403
    assert client.put("/inbox/push").status_code == 405
    assert client.get("/inbox/push/forget").status_code == 405
    text: Any = {"content_type": "text/plain", "headers": {"X-CSRFToken": "a" * 32}}
    assert client.post("/inbox/push", "a=1", **text).status_code == 415
    assert devices() == set()


def test_a_site_without_a_key_offers_nothing(
    inboxes: Inboxes, client: DjangoClient, pushing: Pushing, settings: DjangoSettings
) -> None:
    settings.CARILLON = {**settings.CARILLON, "PUSH_KEY": None}
    for answer in (
        client.get("/inbox/push"),
        post(client, "push", pushing.service.device().subscription),
        post(client, "push/forget", {"endpoint": ""}),
    ):
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
        assert "PUSH_KEY" in answer.json()["detail"]


def test_a_database_that_is_away_is_a_503(
    inboxes: Inboxes, client: DjangoClient, pushing: Pushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise DatabaseError

    notify(inboxes.ada, "order.paid")
    monkeypatch.setattr("notifications.views.push.subscribe", away)
    monkeypatch.setattr("notifications.views.push.rows", away)
    assert post(client, "push", pushing.service.device().subscription).status_code == 503
    assert client.get(f"/inbox/follow/{uuid4()}").status_code == 503


def test_the_page_of_preferences_counts_the_devices_and_forgets_them(
    inboxes: Inboxes, client: DjangoClient, pushing: Pushing
) -> None:
    page = "/inbox/preferences/page/"
    assert "push/forget" not in client.get(page).content.decode()
    for user in (inboxes.ada, inboxes.ada, inboxes.bob):
        pushing.device_of(user)
    assert "2 devices take push messages for you." in client.get(page).content.decode()
    with translation.override("de"):
        assert "2 Geräte empfangen" in client.get(page).content.decode()
    assert client.post("/inbox/push/forget", {"csrfmiddlewaretoken": "b" * 32}).status_code == 403
    answer = client.post("/inbox/push/forget", {"csrfmiddlewaretoken": "a" * 32})
    assert (answer.status_code, answer["Location"]) == (303, page)
    assert [username for username, _ in devices()] == ["bob"]


# In the browser


def test_the_worker_is_a_script_of_this_origin_for_everybody(inboxes: Inboxes) -> None:
    answer = DjangoClient().get("/inbox/worker.js")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer["Cache-Control"] == "no-cache"
    assert 'addEventListener("push"' in answer.content.decode()
    assert DjangoClient().post("/inbox/worker.js").status_code == 405


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("/orders/7/", "/orders/7/"),
        ("orders/7/", "/orders/7/"),
        ("?a=1", "/?a=1"),
        ("https://shop.example/7", "https://shop.example/7"),
        ("javascript:alert(1)", "/inbox/page/"),
        ("https://[", "/inbox/page/"),
        ("", "/inbox/page/"),
    ],
)
def test_a_click_leads_to_the_address_of_the_notification_and_it_is_read(
    inboxes: Inboxes, client: DjangoClient, pushing: Pushing, url: str, address: str
) -> None:
    notify(inboxes.ada, "order.paid")
    inboxes.relay()
    Notification.objects.update(url=url)  # some of these `notify` would not take
    [id] = inboxes.ids(inboxes.ada)
    assert client.head(f"/inbox/follow/{id}")["Location"] == address
    assert inboxes.states(inboxes.ada) == ["unseen"]
    answer = client.get(f"/inbox/follow/{id}")
    assert (answer.status_code, answer["Location"]) == (302, address)
    assert "no-store" in answer["Cache-Control"]
    assert inboxes.states(inboxes.ada) == ["read"]


def test_a_click_on_what_is_somebody_elses_reads_nothing(
    inboxes: Inboxes, client: DjangoClient, pushing: Pushing
) -> None:
    notify(inboxes.bob, "order.paid", url="/orders/7/")
    inboxes.relay()
    [id] = inboxes.ids(inboxes.bob)
    assert client.get(f"/inbox/follow/{id}")["Location"] == "/inbox/page/"
    assert inboxes.states(inboxes.bob) == ["unseen"]
    nobody = DjangoClient().get(f"/inbox/follow/{id}", headers={"accept": "text/html"})
    assert nobody["Location"].endswith(f"?next=/inbox/follow/{id}")
    assert client.post(f"/inbox/follow/{id}").status_code == 405


# The operator


def test_checks_name_what_is_missing(
    inboxes: Inboxes,
    pushing: Pushing,
    settings: DjangoSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ids() -> set[str]:
        return {str(each.id) for each in run_checks()} & {"carillon.E011", "carillon.E012"}

    assert ids() == set()
    configured = settings.CARILLON
    settings.CARILLON = {**configured, "PUSH_KEY": None}
    assert ids() == {"carillon.E011"}
    with no_kinds():
        kind("plain", text="Plain")
        assert ids() == set()
        kind("pushed", text="Pushed", push=Push())
        assert ids() == {"carillon.E011"}
    settings.CARILLON = configured
    offer._public.cache_clear()
    monkeypatch.setattr(offer, "find_spec", lambda name: None if name == "webpush" else True)
    assert ids() == {"carillon.E012"}
    offer._public.cache_clear()


def test_a_key_is_made_by_a_command(inboxes: Inboxes, settings: DjangoSettings) -> None:
    output, errors = StringIO(), StringIO()
    call_command("carillon", "push-key", stdout=output, stderr=errors)
    settings.CARILLON = {**settings.CARILLON, "PUSH_KEY": output.getvalue().strip()}
    assert offer.browser_key()
    assert "PUSH_KEY" in errors.getvalue()
    settings.CARILLON = {**settings.CARILLON, "PUSH_KEY": "short"}
    with pytest.raises(ImproperlyConfigured, match="carillon push-key' has made"):
        offer.browser_key()

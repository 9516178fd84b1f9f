"""API keys in the admin: created, shown once, changed, revoked and deleted, by permission."""

import re
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from pytest_django import Settings as DjangoSettings

from notifications.access.identities.api_keys import authenticate_key, issue
from notifications.models import ApiKey, KeyState

pytestmark = pytest.mark.django_db

LIST = "/admin/carillon/apikey/"
ADD = f"{LIST}add/"
FORM = {"name": "order service", "subscribe": "", "publish": "orders\n news.* \n\n"}
KEY = re.compile(r"crl_[a-z0-9]{8}_[A-Za-z0-9]{43}")


@pytest.fixture
def browser() -> Client:
    return browser_of(User.objects.create_superuser("root"))


def browser_of(user: User) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


def browser_with_permissions(*actions: str) -> Client:
    user = User.objects.create_user("ada", is_staff=True)
    for action in actions:
        user.user_permissions.add(Permission.objects.get(codename=f"{action}_apikey"))
    return browser_of(user)


def make_key(**fields: object) -> ApiKey:
    key = ApiKey(**{"name": "a", "publish": ["news"], **fields})
    issue(key)
    key.save()
    return key


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


# Creating a key


def test_keys_are_read_where_they_are_written(browser: Client, settings: DjangoSettings) -> None:
    key = make_key()
    settings.DATABASE_ROUTERS = ["tests.harness.routers.ReadsOfKeys"]
    assert browser.get(LIST).status_code == 200
    form = {**FORM, "expires_at_0": "", "expires_at_1": ""}
    assert browser.post(f"{LIST}{key.pk}/change/", form).status_code == 302
    key.refresh_from_db(using="default")
    assert key.name == FORM["name"]


def test_a_new_key_is_shown_once_and_never_again(browser: Client) -> None:
    response = browser.post(ADD, FORM)
    (text,) = KEY.findall(text_of(response))
    assert "no-store" in response["Cache-Control"]
    key = ApiKey.objects.get()
    for url in (LIST, f"{LIST}{key.pk}/change/", f"{LIST}{key.pk}/history/", "/admin/"):
        page = text_of(browser.get(url))
        assert text.rpartition("_")[2] not in page
        assert key.digest not in page


def test_a_new_key_is_stored_nowhere(browser: Client, caplog: pytest.LogCaptureFixture) -> None:
    response = browser.post(ADD, FORM)
    secret = KEY.findall(text_of(response))[0].rpartition("_")[2]
    stored = [
        *(repr(row) for row in ApiKey.objects.values()),
        *(repr(row) for row in LogEntry.objects.values()),
        *(repr(session.get_decoded()) for session in Session.objects.all()),
        response.cookies.output(),
        caplog.text,
    ]
    assert not any(secret in text for text in stored)


def test_a_new_key_allows_the_patterns_of_the_form(browser: Client) -> None:
    (text,) = KEY.findall(text_of(browser.post(ADD, FORM)))
    key = ApiKey.objects.get()
    assert (key.name, key.subscribe, key.publish) == ("order service", [], ["orders", "news.*"])
    assert async_to_sync(authenticate_key)(text).subjects == (key.subject,)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("publish", "a..b", "The pattern &#x27;a..b&#x27;"),
        ("subscribe", "{x}.{x}", "twice"),
        ("publish", "", "needs a pattern"),
        ("name", "", "required"),
        ("expires_at_0", "tomorrow", "valid date"),
    ],
)
def test_the_form_reports_why_a_key_is_invalid(
    browser: Client, field: str, value: str, error: str
) -> None:
    assert error in text_of(browser.post(ADD, {**FORM, field: value}))
    assert not ApiKey.objects.exists()


def test_the_form_has_no_button_that_leads_past_the_new_key(browser: Client) -> None:
    page = text_of(browser.get(ADD))
    assert 'name="_save"' in page
    assert "_addanother" not in page
    assert "_continue" not in page


# List and form


def test_the_list_shows_the_state_of_every_key(browser: Client) -> None:
    make_key(name="first")
    make_key(name="second", expires_at=timezone.now() - timedelta(days=1))
    make_key(name="third", revoked_at=timezone.now())
    page = text_of(browser.get(LIST))
    states = re.findall(r'field-state">(\w+)<', page)
    assert states == ["revoked", "expired", "active"]


def test_the_patterns_of_a_key_can_be_changed_and_its_digest_cannot(
    browser: Client,
) -> None:
    key = make_key()
    url = f"{LIST}{key.pk}/change/"
    page = text_of(browser.get(url))
    assert re.search(r'<textarea name="publish"[^>]*>\s*news</textarea>', page)
    forged = {"prefix": "aaaaaaaa", "digest": "0" * 64, "revoked_at_0": "2020-01-01"}
    browser.post(url, {"name": "b", "subscribe": "x", "publish": "", **forged})
    after = ApiKey.objects.get()
    assert (after.name, after.subscribe, after.publish) == ("b", ["x"], [])
    assert (after.prefix, after.digest, after.revoked_at) == (key.prefix, key.digest, None)


def test_a_revoked_key_cannot_be_changed(browser: Client) -> None:
    key = make_key(revoked_at=timezone.now())
    browser.post(f"{LIST}{key.pk}/change/", {"name": "b", "subscribe": "x", "publish": ""})
    assert ApiKey.objects.get().name == "a"


# Revoking and deleting


def test_the_action_revokes_by_save_and_is_in_the_history(browser: Client) -> None:
    key, other = make_key(), make_key(name="other")
    form = {"action": "revoke", "_selected_action": [key.pk]}
    page = text_of(browser.post(LIST, form, follow=True))
    assert f"Revoked: {key}" in page
    assert ApiKey.objects.get(pk=key.pk).state is KeyState.REVOKED
    assert ApiKey.objects.get(pk=other.pk).state is KeyState.ACTIVE
    assert "Revoked." in text_of(browser.get(f"{LIST}{key.pk}/history/"))


def test_revoking_again_keeps_the_first_date(browser: Client) -> None:
    first = timezone.now() - timedelta(days=1)
    key = make_key(revoked_at=first)
    browser.post(LIST, {"action": "revoke", "_selected_action": [key.pk]})
    assert ApiKey.objects.get().revoked_at == first


def test_only_a_key_that_has_ended_can_be_deleted(browser: Client) -> None:
    active, ended = make_key(), make_key(revoked_at=timezone.now())
    selected = [active.pk, ended.pk]
    form = {"action": "delete_selected", "_selected_action": selected, "post": "yes"}
    browser.post(LIST, form)
    assert ApiKey.objects.count() == 2
    url = f"{LIST}{active.pk}/delete/"
    assert browser.post(url, {"post": "yes"}).status_code == 403
    browser.post(f"{LIST}{ended.pk}/delete/", {"post": "yes"})
    assert ApiKey.objects.get() == active


# Permissions


def test_a_user_who_may_only_view_neither_creates_nor_revokes() -> None:
    browser, key = browser_with_permissions("view"), make_key()
    assert browser.post(ADD, FORM).status_code == 403
    browser.post(LIST, {"action": "revoke", "_selected_action": [key.pk]})
    assert browser.post(f"{LIST}{key.pk}/change/", FORM).status_code == 403
    assert ApiKey.objects.get().state is KeyState.ACTIVE
    assert key.prefix in text_of(browser.get(f"{LIST}{key.pk}/change/"))


def test_a_user_without_permissions_sees_nothing() -> None:
    browser, key = browser_with_permissions(), make_key()
    assert browser.get(LIST).status_code == 403
    assert browser.get(f"{LIST}{key.pk}/change/").status_code == 403


def test_a_user_who_may_only_add_sees_the_new_key() -> None:
    assert KEY.search(text_of(browser_with_permissions("add").post(ADD, FORM)))

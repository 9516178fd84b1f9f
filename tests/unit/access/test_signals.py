"""What Django's signals tell about permissions becomes an order to every process."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import transaction
from django.test import Client
from pytest_django import Settings as DjangoSettings

from notifications import kick, recheck
from notifications.conf import get_settings
from notifications.errors import Invalid
from notifications.hub.grants import session_subject
from notifications.log.base import EVERYONE, Order
from notifications.log.factory import memory_store
from notifications.models import ApiKey
from notifications.publishing import control

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_log")]

DEADLINE = 20.0

type Committing = Callable[..., AbstractContextManager[list[Callable[[], Any]]]]
type Told = tuple[Order, frozenset[str], str]


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password="pw")


@pytest.fixture
def told(django_capture_on_commit_callbacks: Committing) -> Callable[..., list[Told]]:
    """Does something, commits it, and says what every process was told of it."""

    def tell(action: Callable[[], object]) -> list[Told]:
        store = memory_store(get_settings(), quiet=True)
        before = len(store.controls)
        with django_capture_on_commit_callbacks(execute=True):
            action()
        return [
            (each.order, frozenset(each.subjects), each.reason) for each in store.controls[before:]
        ]

    return tell


type Tell = Callable[[Callable[[], object]], list[Told]]


def rechecked(*subjects: str) -> list[Told]:
    return [(Order.RECHECK, frozenset(subjects), "")]


def test_a_logout_ends_the_streams_of_that_session(ada: User, told: Tell) -> None:
    client = Client()
    client.force_login(ada)
    subject = session_subject(str(client.session.session_key))
    assert told(client.logout) == [(Order.END, frozenset({subject}), "signed_out")]


def test_a_session_is_named_by_what_does_not_tell_its_key() -> None:
    assert "k" * 32 not in session_subject("k" * 32)
    assert session_subject("k" * 32) != session_subject("l" * 32)


def test_what_is_saved_of_a_user_is_checked(ada: User, told: Tell) -> None:
    def change_password() -> None:
        ada.set_password("another")
        ada.save()

    def deactivate() -> None:
        ada.is_active = False
        ada.save(update_fields=["is_active"])

    for action in (change_password, deactivate):
        assert told(action) == rechecked(f"user:{ada.pk}")
    pk = ada.pk
    assert rechecked(f"user:{pk}")[0] in told(ada.delete)


def test_a_login_and_a_new_user_are_no_news(ada: User, told: Tell) -> None:
    assert told(lambda: Client().force_login(ada)) == []
    assert told(lambda: User.objects.create_user("may")) == []


def test_groups_and_permissions_of_a_user_are_checked_from_both_sides(
    ada: User, told: Tell
) -> None:
    group = Group.objects.create(name="editors")
    permission = Permission.objects.get(codename="view_group")
    hers = rechecked(f"user:{ada.pk}")
    assert told(lambda: ada.groups.add(group)) == hers
    assert told(lambda: group.user_set.remove(ada)) == hers
    assert told(lambda: group.user_set.add(ada)) == hers
    assert told(ada.groups.clear) == hers
    assert told(lambda: ada.user_permissions.set([permission])) == hers
    assert told(lambda: permission.user_set.remove(ada)) == hers
    assert told(group.user_set.clear) == rechecked(EVERYONE)


def test_permissions_of_a_group_are_everybodys_affair(told: Tell) -> None:
    group = Group.objects.create(name="editors")
    permission = Permission.objects.get(codename="view_group")
    assert told(lambda: group.permissions.add(permission)) == rechecked(EVERYONE)
    assert told(group.permissions.clear) == rechecked(EVERYONE)
    assert rechecked(EVERYONE)[0] in told(group.delete)


def test_a_key_that_changes_is_checked(told: Tell) -> None:
    key = ApiKey(name="k", prefix="abcdefgh", digest="0" * 64, subscribe=["news"], publish=[])
    assert told(key.save) == []
    assert told(key.save) == rechecked(key.subject)
    subject = key.subject
    assert told(key.delete) == rechecked(subject)


def test_what_is_rolled_back_is_no_news(ada: User, told: Tell) -> None:
    def roll_back() -> None:
        with transaction.atomic():
            ada.is_active = False
            ada.save()
            transaction.set_rollback(True)

    assert told(roll_back) == []


def test_a_kick_ends_streams_by_user_and_by_topic(
    ada: User, told: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "carillon.audit")
    ends = (Order.END, frozenset({f"user:{ada.pk}"}), "kicked")
    assert told(lambda: kick(user=ada)) == told(lambda: kick(user=ada.pk)) == [ends]
    assert f"streams.ended reason=kicked subjects=user:{ada.pk}" in caplog.text
    topics = frozenset({"topic:a", "topic:b"})
    assert told(lambda: kick(topic=["a", "b"])) == [(Order.END, topics, "kicked")]
    with pytest.raises(TypeError):
        kick(topic=[])
    with pytest.raises(Invalid):
        kick(topic="")


def test_an_application_has_its_own_rules_asked_again(ada: User, told: Tell) -> None:
    assert told(lambda: recheck(user=ada)) == rechecked(f"user:{ada.pk}")
    assert told(recheck) == rechecked(EVERYONE)


def test_a_log_that_is_away_is_no_hindrance(
    ada: User, settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = {"LOG": "redis", "REDIS_URL": "redis://127.0.0.1:1/9", "GRANT_MAX_AGE": 0.1}
    settings.CARILLON = away
    messenger = control.ControlPublisher()
    monkeypatch.setattr(control, "_publisher", messenger)
    client = Client()
    client.force_login(ada)
    client.logout()
    assert "_auth_user_id" not in client.session
    # By then every stream has been asked about, so that the order is not needed any more.
    assert messenger.flush(DEADLINE)

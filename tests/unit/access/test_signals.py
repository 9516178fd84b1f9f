"""Django's signals about permissions become control entries for every process."""

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
from notifications.log.entries import EVERYONE, ControlAction
from notifications.log.factory import memory_store
from notifications.models import ApiKey
from notifications.publishing import control

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_log")]

DEADLINE_SECONDS = 60.0

type CaptureCallbacks = Callable[..., AbstractContextManager[list[Callable[[], Any]]]]
type Control = tuple[ControlAction, frozenset[str], str]
type ControlsOf = Callable[[Callable[[], object]], list[Control]]


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password="pw")


@pytest.fixture
def controls_of(django_capture_on_commit_callbacks: CaptureCallbacks) -> ControlsOf:
    """Runs an action, commits it, and returns the control entries that it appended to the log."""

    def run(action: Callable[[], object]) -> list[Control]:
        store = memory_store(get_settings(), quiet=True)
        before = len(store.controls)
        with django_capture_on_commit_callbacks(execute=True):
            action()
        return [
            (control.action, frozenset(control.subjects), control.reason)
            for control in store.controls[before:]
        ]

    return run


def recheck_of(*subjects: str) -> list[Control]:
    return [(ControlAction.RECHECK, frozenset(subjects), "")]


def test_a_user_who_is_saved_or_deleted_is_rechecked(ada: User, controls_of: ControlsOf) -> None:
    def change_password() -> None:
        ada.set_password("another")
        ada.save()

    def deactivate() -> None:
        ada.is_active = False
        ada.save(update_fields=["is_active"])

    for action in (change_password, deactivate):
        assert controls_of(action) == recheck_of(f"user:{ada.pk}")
    pk = ada.pk
    assert recheck_of(f"user:{pk}")[0] in controls_of(ada.delete)


def test_a_login_and_a_new_user_send_no_control_entry(ada: User, controls_of: ControlsOf) -> None:
    assert controls_of(lambda: Client().force_login(ada)) == []
    assert controls_of(lambda: User.objects.create_user("may")) == []


def test_groups_and_permissions_of_a_user_are_rechecked_from_both_sides(
    ada: User, controls_of: ControlsOf
) -> None:
    group = Group.objects.create(name="editors")
    permission = Permission.objects.get(codename="view_group")
    recheck_of_ada = recheck_of(f"user:{ada.pk}")
    assert controls_of(lambda: ada.groups.add(group)) == recheck_of_ada
    assert controls_of(lambda: group.user_set.remove(ada)) == recheck_of_ada
    assert controls_of(lambda: group.user_set.add(ada)) == recheck_of_ada
    assert controls_of(ada.groups.clear) == recheck_of_ada
    assert controls_of(lambda: ada.user_permissions.set([permission])) == recheck_of_ada
    assert controls_of(lambda: permission.user_set.remove(ada)) == recheck_of_ada
    assert controls_of(group.user_set.clear) == recheck_of(EVERYONE)


def test_permissions_of_a_group_are_rechecked_for_everybody(controls_of: ControlsOf) -> None:
    group = Group.objects.create(name="editors")
    permission = Permission.objects.get(codename="view_group")
    assert controls_of(lambda: group.permissions.add(permission)) == recheck_of(EVERYONE)
    assert controls_of(group.permissions.clear) == recheck_of(EVERYONE)
    assert recheck_of(EVERYONE)[0] in controls_of(group.delete)


def test_a_key_that_changes_is_rechecked(controls_of: ControlsOf) -> None:
    key = ApiKey(name="k", prefix="abcdefgh", digest="0" * 64, subscribe=["news"], publish=[])
    assert controls_of(key.save) == []
    assert controls_of(key.save) == recheck_of(key.subject)
    subject = key.subject
    assert controls_of(key.delete) == recheck_of(subject)


def test_a_change_that_is_rolled_back_sends_no_control_entry(
    ada: User, controls_of: ControlsOf
) -> None:
    def roll_back() -> None:
        with transaction.atomic():
            ada.is_active = False
            ada.save()
            transaction.set_rollback(True)

    assert controls_of(roll_back) == []


def test_a_kick_ends_streams_by_user_and_by_topic(
    ada: User, controls_of: ControlsOf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "carillon.audit")
    ends = (ControlAction.END, frozenset({f"user:{ada.pk}"}), "kicked")
    assert controls_of(lambda: kick(user=ada)) == controls_of(lambda: kick(user=ada.pk)) == [ends]
    assert f"streams.ended reason=kicked subjects=user:{ada.pk}" in caplog.text
    topics = frozenset({"topic:a", "topic:b"})
    assert controls_of(lambda: kick(topic=["a", "b"])) == [(ControlAction.END, topics, "kicked")]
    with pytest.raises(TypeError):
        kick(topic=[])
    with pytest.raises(Invalid):
        kick(topic="")


def test_an_application_can_have_its_own_rules_rechecked(
    ada: User, controls_of: ControlsOf
) -> None:
    assert controls_of(lambda: recheck(user=ada)) == recheck_of(f"user:{ada.pk}")
    assert controls_of(recheck) == recheck_of(EVERYONE)


def test_a_logout_works_while_the_log_cannot_be_reached(
    ada: User, settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable = {"LOG": "redis", "REDIS_URL": "redis://127.0.0.1:1/9", "GRANT_MAX_AGE": 0.1}
    settings.CARILLON = unreachable
    publisher = control.ControlPublisher()
    monkeypatch.setattr(control, "_publisher", publisher)
    client = Client()
    client.force_login(ada)
    client.logout()
    assert "_auth_user_id" not in client.session
    # After GRANT_MAX_AGE every stream has been rechecked anyway, so the entry is given up.
    assert publisher.flush(DEADLINE_SECONDS)

"""Sessions that end, move or change become control entries, whichever engine keeps them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth import login as log_in
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models.signals import post_delete
from django.http import HttpRequest
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings as DjangoSettings

from notifications import recheck
from notifications.access import session_ends
from notifications.access.identities import logins
from notifications.conf import get_settings
from notifications.hub.grants import session_subject
from notifications.log.entries import EVERYONE, ControlAction, ControlEntry
from notifications.log.factory import memory_store

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_log")]

BACKEND = "django.contrib.auth.backends.ModelBackend"
BACKENDS = "django.contrib.sessions.backends"
ENGINES = ["db", "cached_db", "cache", "file", "signed_cookies"]
WITH_ROWS = ENGINES[:2]

type CaptureCallbacks = Callable[..., AbstractContextManager[list[Callable[[], Any]]]]


@pytest.fixture
def controls(
    django_capture_on_commit_callbacks: CaptureCallbacks,
) -> Callable[[Callable[[], object]], list[ControlEntry]]:
    """Runs an action, commits it, and returns the control entries that it appended to the log."""

    def run(action: Callable[[], object]) -> list[ControlEntry]:
        store = memory_store(get_settings(), quiet=True)
        before = len(store.controls)
        with django_capture_on_commit_callbacks(execute=True):
            action()
        return store.controls[before:]

    return run


type Controls = Callable[[Callable[[], object]], list[ControlEntry]]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, settings: DjangoSettings, tmp_path: Path) -> str:
    settings.SESSION_FILE_PATH = str(tmp_path)
    settings.SESSION_ENGINE = f"{BACKENDS}.{request.param}"
    return str(request.param)


@pytest.fixture(params=WITH_ROWS)
def engine_with_rows(request: pytest.FixtureRequest, settings: DjangoSettings) -> str:
    settings.SESSION_ENGINE = f"{BACKENDS}.{request.param}"
    return str(request.param)


@pytest.fixture
def ada() -> User:
    return get_user_model().objects.create_user("ada", password="pw")


def logged_in(user: User) -> Any:
    """The saved session of this user, as the next request reads it."""
    client = Client()
    client.force_login(user)
    return reopened(client.session)


def reopened(session: Any) -> Any:
    store = import_module(type(session).__module__).SessionStore
    again = store(session.session_key)
    assert again["_auth_user_id"]
    return again


def subject(session: Any) -> str:
    found = logins.subject_of(session, session.session_key)
    assert found is not None
    return found


def is_end(controls: list[ControlEntry], *subjects: str) -> bool:
    named = [name for control in controls for name in control.subjects]
    return sorted(named) == sorted(subjects) and all(
        (control.action, control.reason) == (ControlAction.END, "signed_out")
        for control in controls
    )


def test_a_login_has_an_id_which_no_write_and_no_other_key_changes(engine: str, ada: User) -> None:
    session = logged_in(ada)
    login = subject(session)
    assert session.session_key not in login
    session["cart"] = 1
    session.save()
    session.cycle_key()
    session.save()
    assert subject(reopened(session)) == login
    assert subject(logged_in(ada)) != login


def test_the_subject_of_a_session_does_not_reveal_its_key() -> None:
    assert "k" * 32 not in session_subject("k" * 32)
    assert session_subject("k" * 32) != session_subject("l" * 32)


def test_a_log_out_ends_the_streams_of_that_session_once(
    engine: str, ada: User, controls: Controls
) -> None:
    client = Client()
    client.force_login(ada)
    login = subject(client.session)
    assert is_end(controls(client.logout), login)
    assert controls(client.logout) == []


@pytest.mark.parametrize("way", ["flush", "delete"])
def test_a_session_that_is_flushed_or_deleted_has_ended(
    engine: str, ada: User, controls: Controls, way: str
) -> None:
    session = logged_in(ada)
    login = subject(session)
    assert is_end(controls(getattr(session, way)), login)


def test_a_session_that_other_code_deletes_by_its_key_has_ended(
    engine: str, ada: User, controls: Controls
) -> None:
    session = logged_in(ada)
    login, store = subject(session), type(session)
    assert is_end(controls(lambda: store(session.session_key).delete()), login)
    session = logged_in(ada)
    login = subject(session)
    assert is_end(controls(lambda: store().delete(session.session_key)), login)


@pytest.mark.parametrize("way", ["clear", "pop"])
def test_a_session_that_is_saved_without_its_user_has_ended(
    engine: str, ada: User, controls: Controls, way: str
) -> None:
    session = logged_in(ada)
    login = subject(session)
    session.clear() if way == "clear" else session.pop("_auth_user_id")
    assert controls(lambda: None) == []
    assert is_end(controls(session.save), login)


@pytest.mark.django_db(transaction=True)
async def test_asynchronous_code_ends_a_session_as_well(engine: str) -> None:
    ada = await get_user_model().objects.acreate(username="grace")
    client = AsyncClient()
    await client.aforce_login(ada)
    session = await client.asession()
    login = logins.subject_of(dict(await session.aitems()), session.session_key)
    assert login is not None
    before = len(memory_store(get_settings(), quiet=True).controls)
    await client.alogout()
    ended = memory_store(get_settings(), quiet=True).controls[before:]
    assert {name for control in ended for name in control.subjects} == {login}


def test_a_session_that_gets_another_key_moves_and_does_not_end(
    engine: str, ada: User, controls: Controls
) -> None:
    session = logged_in(ada)
    login, old_key = subject(session), session.session_key
    [moving] = controls(session.cycle_key)
    assert (moving.action, moving.reason) == (ControlAction.RECHECK, logins.MOVING)
    session["cart"] = 1
    [moved] = controls(session.save)
    assert moved.action is ControlAction.RECHECK
    assert moved.subjects == moving.subjects == (login,)
    assert session.session_key not in moved.reason
    changes = logins.LoginChanges()
    for control in (moving, moved):
        changes.observe(control)
    assert changes.current_key(login, old_key) == session.session_key
    assert controls(session.save) == []


@pytest.mark.django_db(transaction=True)
async def test_asynchronous_code_moves_a_session_as_well(engine: str) -> None:
    ada = await get_user_model().objects.acreate(username="grace")
    client = AsyncClient()
    await client.aforce_login(ada)
    session = await client.asession()
    await session.aget("_auth_user_id")
    login = logins.subject_of(session, session.session_key)
    before = len(memory_store(get_settings(), quiet=True).controls)
    await session.acycle_key()
    await session.asave()
    ordered = memory_store(get_settings(), quiet=True).controls[before:]
    assert {control.action for control in ordered} == {ControlAction.RECHECK}
    assert {control.subjects for control in ordered} == {(login,)}
    assert ordered[-1].reason.startswith(logins.MOVED)


def test_a_session_from_before_keeps_the_subject_of_its_key(
    engine: str, ada: User, controls: Controls
) -> None:
    session = logged_in(ada)
    del session[logins.LOGIN_KEY]
    vars(session).pop("_carillon_login", None)
    login = subject(session)
    assert login == session_subject(session.session_key)
    session.cycle_key()
    session.save()
    assert subject(reopened(session)) == login
    assert is_end(controls(session.flush), login)


def test_another_person_in_the_same_session_is_another_login(
    engine: str, ada: User, controls: Controls
) -> None:
    request, bob = HttpRequest(), get_user_model().objects.create_user("bob")
    request.session = logged_in(ada)
    login = subject(request.session)
    ended = controls(lambda: log_in(request, bob, backend=BACKEND))
    assert is_end(ended, login)
    request.session.save()
    assert subject(request.session) != login


def test_another_person_after_the_user_was_taken_out_is_another_login(
    engine: str, ada: User, controls: Controls
) -> None:
    """`login` does not flush a session without a user, and keeps what else is in it."""
    request, bob = HttpRequest(), get_user_model().objects.create_user("bob")
    session = request.session = logged_in(ada)
    login = subject(session)
    del session["_auth_user_id"]

    def log_in_and_save() -> None:
        log_in(request, bob, backend=BACKEND)
        session.save()

    assert is_end(controls(log_in_and_save), login)
    assert subject(session) != login


def test_a_write_orders_nothing(engine: str, ada: User, controls: Controls) -> None:
    session = logged_in(ada)
    session["cart"] = 1
    assert controls(session.save) == []
    anonymous = type(session)()
    anonymous["cart"] = 1
    assert controls(anonymous.save) == controls(anonymous.flush) == []


def test_an_application_has_the_streams_of_a_session_rechecked_when_it_is_saved(
    engine: str, ada: User, controls: Controls
) -> None:
    session = logged_in(ada)
    login = subject(session)
    assert controls(lambda: recheck(session=session)) == []
    assert session.modified, "or nothing would save it"
    [ordered] = controls(session.save)
    assert (ordered.action, ordered.subjects) == (ControlAction.RECHECK, (login,))
    assert controls(session.save) == []


# Rows


def test_a_row_that_is_deleted_ends_its_session(
    engine_with_rows: str, ada: User, controls: Controls
) -> None:
    sessions = [logged_in(ada) for _ in range(3)]
    logins_ = [subject(session) for session in sessions]
    one, *others = [session.session_key for session in sessions]
    assert is_end(controls(Session.objects.get(pk=one).delete), logins_[0])
    [control] = controls(Session.objects.filter(pk__in=others).delete)
    assert is_end([control], *logins_[1:])
    for session in sessions:  # a cache has forgotten it too
        assert "_auth_user_id" not in type(session)(session.session_key)


def test_a_row_of_nobody_or_of_long_ago_ends_nothing(ada: User, controls: Controls) -> None:
    client = Client()
    client.force_login(ada)
    long_ago = timezone.now() - timedelta(days=1)
    Session.objects.update(expire_date=long_ago)
    Session(session_key="k" * 32, session_data="", expire_date=timezone.now()).save()
    assert controls(Session.objects.all().delete) == []


def test_a_deletion_that_is_rolled_back_ends_nothing(ada: User, controls: Controls) -> None:
    session = logged_in(ada)

    def roll_back() -> None:
        with transaction.atomic():
            Session.objects.filter(pk=session.session_key).delete()
            transaction.set_rollback(True)

    assert controls(roll_back) == []


def test_sessions_that_expired_end_when_they_are_cleared_and_django_loads_no_others(
    engine_with_rows: str, ada: User, controls: Controls
) -> None:
    kept, lately, long_ago = [logged_in(ada) for _ in range(3)]
    login = subject(lately)
    now = timezone.now()
    for session, age in ((lately, timedelta(seconds=1)), (long_ago, timedelta(days=1))):
        Session.objects.filter(pk=session.session_key).update(expire_date=now - age)
    with CaptureQueriesContext(connection) as queries:
        ended = controls(lambda: call_command("clearsessions"))
    assert is_end(ended, login)
    assert [row.pk for row in Session.objects.all()] == [kept.session_key]
    assert sum(query["sql"].startswith("SELECT") for query in queries) == 1
    assert post_delete.has_listeners(Session)


def test_if_very_many_sessions_end_everybody_is_rechecked(
    ada: User, controls: Controls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_ends, "MAX_ENDED_AT_ONCE", 2)
    for _ in range(3):
        logged_in(ada)
    [control] = controls(Session.objects.all().delete)
    assert (control.action, control.subjects) == (ControlAction.RECHECK, (EVERYONE,))


# What every process remembers


def test_an_ended_login_is_remembered_as_long_as_its_cookie_is_good(
    settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr("notifications.access.identities.logins.time.monotonic", lambda: now)
    changes = logins.LoginChanges()
    changes.observe(ControlEntry(ControlAction.END, ("session:a", "user:1"), "signed_out"))
    changes.observe(ControlEntry(ControlAction.END, ("session:b",), "kicked"))
    assert changes.has_ended("session:a")
    assert not changes.has_ended("session:b")
    assert not changes.has_ended("user:1")
    assert not changes.has_ended(None)
    now += 3600
    assert not changes.has_ended("session:a"), "the row has long been deleted"
    settings.SESSION_ENGINE = f"{BACKENDS}.signed_cookies"
    assert changes.has_ended("session:a")
    now += settings.SESSION_COOKIE_AGE
    assert not changes.has_ended("session:a")


def test_the_number_of_remembered_logins_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "MAX_ENDED", 2)
    changes = logins.LoginChanges()
    for name in "abc":
        changes.observe(ControlEntry(ControlAction.END, (f"session:{name}",), "signed_out"))
    assert [changes.has_ended(f"session:{name}") for name in "abc"] == [False, True, True]

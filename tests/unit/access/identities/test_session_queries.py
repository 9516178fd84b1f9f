"""The prepared queries of a session answer as Django's own, and compile no SQL anew."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models.sql.compiler import SQLCompiler
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notifications.access.identities import session_queries

pytestmark = pytest.mark.django_db

BACKEND = f"{__name__}.OwnBackend"


class OwnBackend(ModelBackend):
    def get_user(self, user_id: int) -> User | None:
        return User.objects.filter(username="grace").first()


def request_of(key: str) -> HttpRequest:
    request = HttpRequest()
    request.session = SessionStore(key)
    AuthenticationMiddleware(lambda _: HttpResponse()).process_request(request)
    return request


def log_in(username: str = "ada") -> tuple[User, str]:
    user = User.objects.create(username=username)
    client = Client()
    client.force_login(user)
    return user, str(client.session.session_key)


def as_prepared(key: str) -> tuple[Any, Any, dict[str, Any]]:
    request = request_of(key)
    session_queries.read_user(request)
    return request.user.pk, request.session.session_key, dict(request.session.items())


def as_django(key: str) -> tuple[Any, Any, dict[str, Any]]:
    request = request_of(key)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_queries, "load", lambda store, load: load(store))
        user = get_user(request)
        return user.pk, request.session.session_key, dict(request.session.items())


def stay(_: User, __: str) -> None:
    """Nothing changes."""


def delete_user(user: User, _: str) -> None:
    user.delete()


def deactivate(user: User, _: str) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def expire(_: User, key: str) -> None:
    Session.objects.filter(pk=key).update(expire_date=timezone.now() - timedelta(seconds=1))


def delete_row(_: User, key: str) -> None:
    Session.objects.filter(pk=key).delete()


def spoil(_: User, key: str) -> None:
    Session.objects.filter(pk=key).update(session_data="spoilt")


def rewrite(**values: Any) -> Callable[[User, str], None]:
    def change(_: User, key: str) -> None:
        store = SessionStore(key)
        store.update(values)
        store.save()

    return change


CHANGES = {
    "stay": stay,
    "delete_user": delete_user,
    "deactivate": deactivate,
    "expire": expire,
    "delete_row": delete_row,
    "spoil": spoil,
    "key_of_no_column": rewrite(**{SESSION_KEY: str(2**70)}),
    "key_below_0": rewrite(**{SESSION_KEY: "-1"}),
    "no_backend": rewrite(_auth_user_backend="nowhere.Backend"),
    "backend_of_its_own": rewrite(_auth_user_backend=BACKEND),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_the_answer_is_djangos(change: Callable[[User, str], None], settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", BACKEND]
    User.objects.create(username="grace")
    user, key = log_in()
    change(user, key)
    assert as_prepared(key) == as_django(key)


@pytest.mark.parametrize("auth_hash", ["", "of another password"])
def test_a_session_of_another_password_is_flushed(auth_hash: str) -> None:
    user, key = log_in()
    rewrite(**{HASH_SESSION_KEY: auth_hash})(user, key)
    assert as_prepared(key) == (None, None, {})
    assert not Session.objects.filter(pk=key).exists()


def test_a_secret_key_from_before_is_accepted_and_the_session_gets_another_key(
    settings: Any,
) -> None:
    user, key = log_in()
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another" * 8
    pk, renewed, _ = as_prepared(key)
    assert pk == user.pk
    assert renewed not in (key, None)


def test_a_user_whom_a_middleware_has_set_is_left_alone() -> None:
    _, key = log_in()
    request = request_of(key)
    request.user = other = User(username="grace")
    session_queries.read_user(request)
    assert request.user is other
    assert not request.session.accessed


def test_a_manager_of_its_own_answers_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class ActiveUsers(type(User._default_manager)):  # type: ignore[misc]
        def get_queryset(self) -> Any:
            return super().get_queryset().none()

    _, key = log_in()
    manager = ActiveUsers()
    manager.model = User
    monkeypatch.setattr(User._meta, "default_manager", manager)
    assert User._default_manager is manager
    assert as_prepared(key)[0] is None


def test_two_queries_are_sent_and_none_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    _, key = log_in()
    as_prepared(key)
    compiled: list[str] = []
    as_sql = SQLCompiler.as_sql

    def counted(self: Any, *args: Any, **options: Any) -> Any:
        compiled.append(str(self.query.model))
        return as_sql(self, *args, **options)

    monkeypatch.setattr(SQLCompiler, "as_sql", counted)
    with CaptureQueriesContext(connection) as prepared:
        as_prepared(key)
    assert compiled == []
    monkeypatch.setattr(session_queries, "load", lambda store, load: load(store))
    with CaptureQueriesContext(connection) as djangos:
        assert get_user(request_of(key)).is_authenticated
    assert len(compiled) == 2
    without_times = [
        [each["sql"].partition(" AND ")[2] for each in queries.captured_queries]
        for queries in (prepared, djangos)
    ]
    assert without_times[0] == without_times[1]
    assert len(prepared) == 2

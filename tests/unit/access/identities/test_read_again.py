"""Sessions that a middleware has read, perhaps from a replica: which of them are read again."""

import asyncio
from collections.abc import Callable

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.utils.functional import SimpleLazyObject
from pytest_django import DjangoAssertNumQueries
from pytest_django import Settings as DjangoSettings

from notifications.access.identities import authentication, primary_session, session
from notifications.access.identities.base import Identity, Kind
from notifications.hub import primary, runtime
from notifications.hub.grants import Unsettled, user_subject
from notifications.log.entries import EVERYONE, ControlAction, ControlEntry

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_log")]

DEADLINE_SECONDS = 60.0
QUERIES_OF_A_SECOND_LOOK = 2
"""The session and its user."""


@pytest.fixture(autouse=True)
def recent(settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch) -> primary.RecentSubjects:
    """The subjects of late, which are none, on a site whose router routes reads."""
    settings.DATABASE_ROUTERS = ["tests.harness.routers.OneDatabase"]
    subjects = primary.RecentSubjects()
    monkeypatch.setattr(primary, "recent_subjects", subjects)
    monkeypatch.setattr(primary_session, "recent_subjects", subjects)
    return subjects


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada")


def request_of(user: User) -> HttpRequest:
    """A request whose session and user a middleware has read."""
    client = Client()
    client.force_login(user)
    request = RequestFactory().get("/events/")
    request.session = SessionStore(client.session.session_key)
    request.session.get("anything")
    found = request.user = User.objects.get(pk=user.pk)

    async def auser() -> User:
        return found

    request.auser = auser
    return request


def authenticated(request: HttpRequest, *, before: Callable[[], object] | None = None) -> Identity:
    """The identity, in an event loop that serves streams and so learns of control entries."""

    async def run() -> Identity:
        running = runtime.start()
        try:
            assert await running.wait_ready(timeout=DEADLINE_SECONDS)
            if before is not None:
                before()
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await authentication.authenticate(request)
        finally:
            await runtime.stop()

    return async_to_sync(run)()


@pytest.mark.parametrize("subject", ["the user", EVERYONE, "another"])
def test_a_user_who_was_named_lately_is_read_again_and_no_other(
    ada: User,
    recent: primary.RecentSubjects,
    django_assert_num_queries: DjangoAssertNumQueries,
    subject: str,
) -> None:
    request = request_of(ada)
    named = user_subject(ada.pk) if subject == "the user" else subject
    User.objects.filter(pk=ada.pk).update(is_active=False)

    def control_entry_comes() -> None:
        recent._named.clear()  # the start of the runtime, which names everyone, was long ago
        for observer in runtime.control_observers:
            observer(ControlEntry(ControlAction.RECHECK, (named,), ""))

    is_read = subject != "another"
    with django_assert_num_queries(QUERIES_OF_A_SECOND_LOOK if is_read else 0):
        identity = authenticated(request, before=control_entry_comes)
    assert identity.kind is (Kind.ANONYMOUS if is_read else Kind.SESSION)


def test_after_its_start_a_process_trusts_nothing_that_was_read_before(ada: User) -> None:
    request = request_of(ada)
    User.objects.filter(pk=ada.pk).update(is_active=False)
    assert authenticated(request).kind is Kind.ANONYMOUS


def test_a_process_that_learns_of_no_control_entry_reads_again(ada: User) -> None:
    request = request_of(ada)
    assert async_to_sync(authentication.authenticate)(request).kind is Kind.SESSION
    User.objects.filter(pk=ada.pk).update(is_active=False)
    assert async_to_sync(authentication.authenticate)(request).kind is Kind.ANONYMOUS


def test_without_a_router_of_reads_nothing_is_read_again(
    ada: User, settings: DjangoSettings, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    settings.DATABASE_ROUTERS = []
    request = request_of(ada)
    with django_assert_num_queries(0):
        assert authenticated(request).kind is Kind.SESSION


def test_a_session_that_nobody_has_read_before_is_read_once(
    ada: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client = Client()
    client.force_login(ada)
    request = RequestFactory().get("/events/")
    request.session = SessionStore(client.session.session_key)

    def user() -> User:
        assert request.session["_auth_user_id"] == str(ada.pk)
        return User.objects.get(pk=ada.pk)

    request.user = SimpleLazyObject(user)  # type: ignore[assignment]  # as Django's middleware

    async def auser() -> User:
        return await sync_to_async(user)()

    request.auser = auser
    with django_assert_num_queries(QUERIES_OF_A_SECOND_LOOK):
        assert authenticated(request).kind is Kind.SESSION


def test_a_session_that_is_being_changed_is_waited_for(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Identity | Unsettled | None] = [Unsettled(DEADLINE_SECONDS), Unsettled(0.0)]

    async def reauthenticate(identity: Identity) -> Identity | None:
        answer = answers.pop(0) if answers else identity
        if isinstance(answer, Unsettled):
            raise answer
        return answer

    monkeypatch.setattr(session, "reauthenticate", reauthenticate)
    monkeypatch.setattr(primary_session, "UNSETTLED_SECONDS", 0.0)
    assert authenticated(request_of(ada)).kind is Kind.ANONYMOUS
    assert not answers
    answers.append(Unsettled(DEADLINE_SECONDS))
    assert authenticated(request_of(ada)).kind is Kind.SESSION

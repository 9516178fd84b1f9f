"""User models of the site: what can be asked of them is asked, and what they depend on is known."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.exceptions import PermissionDenied
from django.db import models
from django.test.utils import isolate_apps
from pytest_django import Settings as DjangoSettings

from notifications.access import Access, Rules, group, object_permission, own, permission, staff
from notifications.access.decision import decide
from notifications.access.identities.base import Identity, Kind, Verb
from notifications.access.rules import Rule
from notifications.access.user_fields import _relevant_fields, relevant_user_fields
from tests.harness.row_classes.models import Club, Guest, Member, Membership, Reader

pytestmark = pytest.mark.django_db(transaction=True)

DJANGOS = {"is_active", "is_staff", "is_superuser", "password"}


async def allowed(user: Any, rule: Rule, *topics: str) -> set[str]:
    identity = Identity(kind=Kind.SESSION, name="user:1", user=user)
    decision = await decide(identity, Verb.SUBSCRIBE, topics, access=Rules(subscribe=[rule]))
    return set(decision.allowed)


async def test_a_user_model_with_its_own_has_perm_is_asked() -> None:
    reader = await Reader.objects.acreate(name="ada", rights="shop.view_report auth.view_group:g-1")
    await Group.objects.acreate(name="g-1")
    await Group.objects.acreate(name="g-2")
    assert await allowed(reader, permission("shop.view_report", "r"), "r") == {"r"}
    assert await allowed(reader, permission("shop.view_other", "r"), "r") == set()
    rule = object_permission("auth.view_group", "g.{name}")
    assert await allowed(reader, rule, "g.g-1", "g.g-2") == {"g.g-1"}


async def test_groups_of_the_user_model_s_own_kind_are_asked() -> None:
    reader = await Reader.objects.acreate(name="ada")
    await reader.groups.aadd(await Club.objects.acreate(name="chess"))
    assert await allowed(reader, group("chess", "c"), "c") == {"c"}
    assert await allowed(reader, group("go", "c"), "c") == set()
    reader.is_active = False
    assert await allowed(reader, group("chess", "c"), "c") == set()


async def test_groups_through_a_model_of_the_site_are_asked() -> None:
    member = await Member.objects.acreate(name="ada")
    await Membership.objects.acreate(
        member=member, group=await Group.objects.acreate(name="editors")
    )
    assert await allowed(member, group("editors", "e"), "e") == {"e"}


class Backend:
    def authenticate(self, *_: Any, **__: Any) -> None:
        return None

    def has_perm(self, user: Any, name: str, obj: object = None) -> bool:
        if name == "shop.forbidden":
            raise PermissionDenied
        return bool(user.name == "ada" and name == "shop.view_report" and obj is None)


class Generous(Backend):
    def has_perm(self, user: Any, name: str, obj: object = None) -> bool:
        return name == "shop.forbidden"


async def test_without_has_perm_the_backends_are_asked(settings: DjangoSettings) -> None:
    settings.AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.ModelBackend",
        f"{__name__}.Backend",
        f"{__name__}.Generous",
    ]
    guest = await Guest.objects.acreate(name="ada")
    assert not hasattr(guest, "has_perm")
    assert await allowed(guest, permission("shop.view_report", "r"), "r") == {"r"}
    assert await allowed(guest, permission("shop.view_other", "r"), "r") == set()
    assert await allowed(guest, permission("shop.forbidden", "r"), "r") == set()
    assert await allowed(guest, group("editors", "r"), "r") == set()
    assert await allowed(guest, staff("r"), "r") == set()
    other = await Guest.objects.acreate(name="may")
    assert await allowed(other, permission("shop.view_report", "r"), "r") == set()


class AsyncUser:
    is_active = True
    is_authenticated = True

    async def has_perm(self, perm: str) -> bool:
        return perm == "shop.view_report"


async def test_an_asynchronous_answer_is_awaited_and_is_no_permission_by_itself() -> None:
    assert inspect.iscoroutinefunction(AsyncUser.has_perm)
    assert await allowed(AsyncUser(), permission("shop.view_report", "r"), "r") == {"r"}
    assert await allowed(AsyncUser(), permission("shop.view_other", "r"), "r") == set()


async def test_anonymous_visitors_have_no_permissions_and_no_groups() -> None:
    assert await allowed(AnonymousUser(), permission("shop.view_report", "r"), "r") == set()
    assert await allowed(AnonymousUser(), group("editors", "r"), "r") == set()


# Which fields of a user matter


@pytest.fixture
def fields(settings: DjangoSettings) -> Callable[..., Any]:
    def ask(rules: str | None = None, *backends: str, **changed: Any) -> Any:
        settings.CARILLON = {**settings.CARILLON, "ACCESS": rules and f"{__name__}.{rules}"}
        if backends:
            settings.AUTHENTICATION_BACKENDS = [f"{__name__}.{name}" for name in backends]
        for name, value in changed.items():
            setattr(settings, name, value)
        return relevant_user_fields()

    return ask


RULES = Rules(subscribe=[own("user.{id}", "team.{first_name}")])
COMPUTED = Rules(subscribe=[own("team.{get_full_name}")])
DECLARED = Rules(subscribe=[own("team.{get_full_name}")], user_fields=["first_name", "last_name"])


class Own(Access):
    """It does not say."""


class Modest(Access):
    user_fields = ("email",)


class OwnRules(Rules):
    async def can_subscribe(self, user: Any, topic: str) -> bool:
        return bool(user.email == topic)


OWN_RULES = OwnRules()


class Signs(ModelBackend):
    """As most packages' backends are: they only authenticate in another way."""

    def authenticate(self, *_: Any, **__: Any) -> None:
        return None


class Judges(ModelBackend):
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return bool(user_obj.email == perm)


class JudgesByEmail(Judges):
    user_fields = ("email",)


def test_the_rules_decide_which_fields_matter(fields: Callable[..., Any]) -> None:
    assert fields() == DJANGOS | {"id"}  # user.{id}
    assert fields("RULES") == DJANGOS | {"id", "first_name"}
    assert fields("COMPUTED") is None
    assert fields("DECLARED") == DJANGOS | {"first_name", "last_name"}
    assert fields("Own") is None
    assert fields("Modest") == DJANGOS | {"email"}
    assert fields("OWN_RULES") is None
    assert fields("missing") is None


def test_backends_that_judge_by_themselves_may_depend_on_any_field(
    fields: Callable[..., Any],
) -> None:
    assert fields("RULES", "Signs") == DJANGOS | {"id", "first_name"}
    assert fields("RULES", "Judges") is None
    assert fields("Modest", "Judges") == DJANGOS | {"email"}
    assert fields("RULES", "JudgesByEmail") == DJANGOS | {"id", "first_name", "email"}


def test_a_channel_manager_of_django_eventstream_may_depend_on_any_field(
    fields: Callable[..., Any],
) -> None:
    assert fields("RULES", EVENTSTREAM_CHANNELMANAGER_CLASS="chat.ChannelManager") is None


def test_a_user_model_that_computes_its_answers_may_depend_on_any_field(
    fields: Callable[..., Any], settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fields("RULES", AUTH_USER_MODEL="row_classes.Reader") is None  # own has_perm
    settings.AUTH_USER_MODEL = "auth.User"
    assert get_user_model() is User
    computed = property(lambda user: user.email)
    for name in ("is_active", "is_staff", "has_perm", "get_session_auth_hash"):
        with monkeypatch.context() as patch, isolate_apps("tests.harness.row_classes"):
            model = _user_model(name, computed)
            patch.setattr("notifications.access.user_fields.get_user_model", lambda: model)  # noqa: B023
            _relevant_fields.cache_clear()
            assert fields("RULES") is None
        _relevant_fields.cache_clear()


def _user_model(name: str, value: object) -> type[models.Model]:
    meta = type("Meta", (), {"app_label": "row_classes", "proxy": True})
    contents = {"__module__": __name__, "Meta": meta, name: value}
    return type("Computed", (User,), contents)

"""Every identity against every rule and both verbs, cell by cell."""

from collections.abc import Awaitable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from pytest_django import Settings as DjangoSettings

from notifications.access import (
    Access,
    Answer,
    Rule,
    Rules,
    authenticated,
    group,
    linked,
    object_permission,
    own,
    permission,
    public,
    staff,
)
from notifications.access import decision as decision_module
from notifications.access.decision import Decision, decide, rules_in_force
from notifications.access.identities.base import Identity, Kind, Scope, Verb
from notifications.access.identities.base import User as AnyUser
from notifications.topics import Pattern

VERBS = (Verb.SUBSCRIBE, Verb.PUBLISH)


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


class ObjectBackend:
    """Says who may see which user: everyone themselves."""

    def authenticate(self, *_: Any, **__: Any) -> None:
        return None

    def has_perm(self, user: Any, name: str, obj: Any = None) -> bool:
        return name == "auth.view_user" and obj is not None and obj.pk == user.pk


@pytest.fixture
def people(db: None, settings: DjangoSettings) -> Iterator[dict[str, Identity]]:
    settings.AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.ModelBackend",
        f"{__name__}.ObjectBackend",
    ]
    ada = User.objects.create(pk=42, username="ada")
    may = User.objects.create(pk=43, username="may")
    may.user_permissions.add(Permission.objects.get(codename="view_group"))
    editor = User.objects.create(pk=44, username="editor")
    editor.groups.add(Group.objects.create(name="editors"))
    users: dict[str, AnyUser] = {
        "nobody": AnonymousUser(),
        "ada": ada,
        "may": may,
        "editor": editor,
        "staff": User.objects.create(pk=45, username="staff", is_staff=True),
        "gone": User.objects.create(
            pk=46, username="gone", is_staff=True, is_superuser=True, is_active=False
        ),
    }
    known = {
        name: Identity(
            kind=Kind.SESSION if user.is_authenticated else Kind.ANONYMOUS, name=name, user=user
        )
        for name, user in users.items()
    }
    everything = (Pattern("*"),)
    for kind in (Kind.KEY, Kind.TOKEN):
        known[f"{kind}-hears"] = Identity(kind=kind, name="k", scope=Scope(subscribe=everything))
        known[f"{kind}-speaks"] = Identity(kind=kind, name="k", scope=Scope(publish=everything))
    known["link"] = Identity(kind=Kind.LINK, name="l", scope=Scope(subscribe=everything))
    yield known
    rules_in_force.cache_clear()


HEARS = {"key-hears", "token-hears"}
"""Those whose credentials allow it, whatever the rules say of users."""
SPEAKS = {"key-speaks", "token-speaks"}
EVERYBODY = {"nobody", "ada", "may", "editor", "staff", "gone", *HEARS, *SPEAKS, "link"}

# Rule, topic, and who of the users it allows. Whoever holds a key, a token or a link is no user.
TABLE: dict[str, tuple[Rule, str, set[str]]] = {
    "public": (public("t"), "t", EVERYBODY),
    "authenticated": (authenticated("t"), "t.x", {"ada", "may", "editor", "staff", "gone"}),
    "staff": (staff("t"), "t", {"staff"}),
    "permission": (permission("auth.view_group", "t"), "t", {"may"}),
    "group": (group("editors", "t"), "t", {"editor"}),
    "own": (own("user.{id}"), "user.42.x", {"ada"}),
    "own by a field": (own("name.{username}"), "name.may", {"may"}),
    "object permission": (object_permission("auth.view_user", "u.{pk}"), "u.42", {"ada"}),
    "of no object": (object_permission("auth.view_user", "u.{pk}"), "u.99", set()),
    "of no key": (object_permission("auth.view_user", "u.{pk}"), "u.ada", set()),
    "another topic": (authenticated("t"), "s", set()),
    "link": (linked("t"), "t", {"link"}),
    "none": (staff("s"), "t", set()),
}


def in_force(monkeypatch: pytest.MonkeyPatch, access: Access) -> None:
    monkeypatch.setattr("notifications.access.decision.rules_in_force", lambda: access)


async def decision(identity: Identity, verb: Verb, *topics: str) -> Decision:
    return await decide(identity, verb, topics)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", TABLE)
async def test_the_table(
    people: dict[str, Identity], monkeypatch: pytest.MonkeyPatch, name: str, verb: Verb
) -> None:
    rule, topic, allowed = TABLE[name]
    if verb is Verb.SUBSCRIBE:
        in_force(monkeypatch, Rules(subscribe=[rule]))
        expected = allowed | HEARS
    else:
        in_force(monkeypatch, Rules(publish=[rule]))
        # A link is for hearing, and whoever holds a key or token says what they may with that.
        expected = (allowed | SPEAKS) - {"link", "key-hears", "token-hears"}
    said = {who: await decision(identity, verb, topic) for who, identity in people.items()}
    assert {who for who, each in said.items() if each.allowed} == expected
    assert all(set(each.allowed + each.denied) == {topic} for each in said.values())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", VERBS)
async def test_a_rule_for_one_verb_allows_nothing_of_the_other(
    people: dict[str, Identity], monkeypatch: pytest.MonkeyPatch, verb: Verb
) -> None:
    other = "publish" if verb is Verb.SUBSCRIBE else "subscribe"
    in_force(monkeypatch, Rules(**{other: [authenticated("*"), public("*"), linked("*")]}))
    for name in ("nobody", "ada", "staff"):
        assert not (await decision(people[name], verb, "t")).allowed


async def test_a_scope_covers_its_patterns_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    in_force(monkeypatch, Rules(subscribe=[authenticated("*")]))
    scope = Scope(subscribe=(Pattern("orders.*"),))
    said = await decision(Identity(kind=Kind.KEY, name="k", scope=scope), Verb.SUBSCRIBE, "news")
    assert said == Decision((), ("news",), None)


async def test_what_is_public_is_public_for_keys_too(monkeypatch: pytest.MonkeyPatch) -> None:
    in_force(monkeypatch, Rules(subscribe=[public("news")]))
    said = await decision(Identity(kind=Kind.KEY, name="k", scope=Scope()), Verb.SUBSCRIBE, "news")
    assert said.allowed == ("news",)


async def test_topics_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    in_force(monkeypatch, Rules(subscribe=[public("a", "c"), own("user.{id}")]))
    user = Identity(kind=Kind.SESSION, name="u", user=User(pk=1))
    said = await decision(user, Verb.SUBSCRIBE, "c", "user.1", "b", "a", "user.2")
    assert said == Decision(("c", "user.1", "a"), ("b", "user.2"), None)


async def test_a_field_that_is_empty_is_nobodys_own(monkeypatch: pytest.MonkeyPatch) -> None:
    in_force(monkeypatch, Rules(subscribe=[own("last.{last_login}")]))
    user = Identity(kind=Kind.SESSION, name="u", user=User(pk=1, last_login=None))
    assert not (await decision(user, Verb.SUBSCRIBE, "last.None")).allowed


class OfAnApplication(Access):
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str]] = []

    def can_subscribe(self, user: AnyUser, topic: str) -> Any:
        self.asked.append((str(user.pk), topic))
        return self.answer

    async def can_publish(self, user: AnyUser, topic: str) -> Any:
        self.asked.append((str(user.pk), topic))
        return self.answer


ADA = Identity(kind=Kind.SESSION, name="user:42", user=User(pk=42))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", VERBS)
async def test_an_applications_own_class_is_asked_in_a_thread_or_in_the_loop(
    monkeypatch: pytest.MonkeyPatch, verb: Verb
) -> None:
    access = OfAnApplication(answer=True)
    in_force(monkeypatch, access)
    assert (await decision(ADA, verb, "a", "b")).allowed == ("a", "b")
    assert access.asked == [("42", "a"), ("42", "b")]


@pytest.mark.parametrize("verb", VERBS)
async def test_a_time_is_a_permission_until_then(
    monkeypatch: pytest.MonkeyPatch, verb: Verb
) -> None:
    until = in_an_hour()
    in_force(monkeypatch, OfAnApplication(until))
    said = await decision(ADA, verb, "a")
    assert said == Decision(("a",), (), until.timestamp())
    sooner = replace(ADA, until=until.timestamp() - 60)
    assert (await decision(sooner, verb, "a")).until == until.timestamp() - 60
    in_force(monkeypatch, OfAnApplication(until - timedelta(hours=2)))
    assert await decision(ADA, verb, "a") == Decision((), ("a",), None)


@pytest.mark.parametrize(
    ("answer", "error"),
    [(None, TypeError), (1, TypeError), (in_an_hour().replace(tzinfo=None), ValueError)],
)
async def test_an_answer_that_is_none_is_an_error_and_no_permission(
    monkeypatch: pytest.MonkeyPatch, answer: Any, error: type[Exception]
) -> None:
    in_force(monkeypatch, OfAnApplication(answer))
    with pytest.raises(error, match="can_subscribe"):
        await decision(ADA, Verb.SUBSCRIBE, "a")


async def test_nothing_is_allowed_unless_somebody_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for access in (Access(), Rules()):
        in_force(monkeypatch, access)
        for verb in VERBS:
            assert not (await decision(ADA, verb, "a")).allowed


@pytest.mark.parametrize(
    "make",
    [
        lambda: public(),
        lambda: permission("no_app", "t"),
        lambda: own("user"),
        lambda: object_permission("shop.view_order", "orders"),
        lambda: staff("a..b"),
    ],
)
def test_a_rule_that_means_nothing_is_refused_where_it_is_written(make: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        make()


THE_RULES = Rules(subscribe=[public("t")])


@pytest.mark.parametrize("name", ["THE_RULES", "OfEverybody"])
def test_the_settings_name_rules_or_a_class(settings: DjangoSettings, name: str) -> None:
    settings.CARILLON = {**settings.CARILLON, "ACCESS": f"{__name__}.{name}"}
    assert rules_in_force().is_public("t")


class OfEverybody(Access):
    def is_public(self, topic: str) -> bool:
        return topic == "t"

    def can_subscribe(self, user: AnyUser, topic: str) -> Answer | Awaitable[Answer]:
        return super().can_subscribe(user, topic)


class Since(Access):
    def is_public(self, topic: str) -> bool:
        return topic == "news"

    def can_subscribe(self, user: AnyUser, topic: str) -> bool:
        return True

    def history_since(self, user: AnyUser, topic: str) -> datetime | None:
        return None if topic == "all" else datetime.fromtimestamp(5.0001, UTC)


async def test_history_begins_where_the_rules_say(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = ("room", "all", "news")
    someone = Identity(kind=Kind.SESSION, name="user:1")
    monkeypatch.setattr(decision_module, "rules_in_force", Since)
    assert await decision_module.history_limits(someone, topics) == {"room": 5001}
    assert await decision_module.history_limits(replace(someone, scope=Scope()), topics) == {}
    monkeypatch.setattr(decision_module, "rules_in_force", Access)
    assert await decision_module.history_limits(someone, topics) == {}

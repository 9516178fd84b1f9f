"""The rules: a table of every identity, every rule and both verbs, and the active rules."""

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
from notifications.access.decision import Decision, active_rules, decide, history_limits
from notifications.access.identities.base import Identity, Kind, Scope, Verb
from notifications.access.identities.base import User as AnyUser
from notifications.topics import Pattern

VERBS = (Verb.SUBSCRIBE, Verb.PUBLISH)


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


class ObjectBackend:
    """A backend with object permissions: every user may view themselves."""

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
        known[f"{kind}-subscribes"] = Identity(
            kind=kind, name="k", scope=Scope(subscribe=everything)
        )
        known[f"{kind}-publishes"] = Identity(kind=kind, name="k", scope=Scope(publish=everything))
    known["link"] = Identity(kind=Kind.LINK, name="l", scope=Scope(subscribe=everything))
    yield known
    active_rules.cache_clear()


SUBSCRIBERS = {"key-subscribes", "token-subscribes"}
"""The identities whose scope allows it, whatever the rules allow users."""
PUBLISHERS = {"key-publishes", "token-publishes"}
EVERYBODY = {
    *("nobody", "ada", "may", "editor", "staff", "gone", "link"),
    *SUBSCRIBERS,
    *PUBLISHERS,
}

# Rule, topic, and the users whom the rule allows. A key, a token or a link is no user.
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


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", TABLE)
async def test_each_rule_allows_exactly_its_identities(
    people: dict[str, Identity], name: str, verb: Verb
) -> None:
    rule, topic, allowed = TABLE[name]
    if verb is Verb.SUBSCRIBE:
        access = Rules(subscribe=[rule])
        expected = allowed | SUBSCRIBERS
    else:
        access = Rules(publish=[rule])
        # A link cannot publish, and a key or token publishes only by its scope.
        expected = (allowed | PUBLISHERS) - {"link"} - SUBSCRIBERS
    decisions = {
        person: await decide(identity, verb, [topic], access=access)
        for person, identity in people.items()
    }
    assert {person for person, decision in decisions.items() if decision.allowed} == expected
    for decision in decisions.values():
        assert set(decision.allowed + decision.denied) == {topic}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", VERBS)
async def test_a_rule_for_one_verb_allows_nothing_of_the_other(
    people: dict[str, Identity], verb: Verb
) -> None:
    rules = [authenticated("*"), public("*"), linked("*")]
    access = Rules(publish=rules) if verb is Verb.SUBSCRIBE else Rules(subscribe=rules)
    for name in ("nobody", "ada", "staff"):
        assert not (await decide(people[name], verb, ["t"], access=access)).allowed


async def test_a_scope_allows_only_its_patterns() -> None:
    access = Rules(subscribe=[authenticated("*")])
    key = Identity(kind=Kind.KEY, name="k", scope=Scope(subscribe=(Pattern("orders.*"),)))
    decision = await decide(key, Verb.SUBSCRIBE, ["news"], access=access)
    assert decision == Decision((), ("news",), None)


async def test_a_public_topic_is_public_for_keys_too() -> None:
    access = Rules(subscribe=[public("news")])
    key = Identity(kind=Kind.KEY, name="k", scope=Scope())
    assert (await decide(key, Verb.SUBSCRIBE, ["news"], access=access)).allowed == ("news",)


async def test_topics_keep_their_order() -> None:
    access = Rules(subscribe=[public("a", "c"), own("user.{id}")])
    user = Identity(kind=Kind.SESSION, name="u", user=User(pk=1))
    topics = ["c", "user.1", "b", "a", "user.2"]
    decision = await decide(user, Verb.SUBSCRIBE, topics, access=access)
    assert decision == Decision(("c", "user.1", "a"), ("b", "user.2"), None)


async def test_an_empty_field_of_a_user_owns_no_topic() -> None:
    access = Rules(subscribe=[own("last.{last_login}")])
    user = Identity(kind=Kind.SESSION, name="u", user=User(pk=1, last_login=None))
    assert not (await decide(user, Verb.SUBSCRIBE, ["last.None"], access=access)).allowed


class RecordingAccess(Access):
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[tuple[str, str]] = []

    def can_subscribe(self, user: AnyUser, topic: str) -> Any:
        self.calls.append((str(user.pk), topic))
        return self.answer

    async def can_publish(self, user: AnyUser, topic: str) -> Any:
        self.calls.append((str(user.pk), topic))
        return self.answer


ADA = Identity(kind=Kind.SESSION, name="user:42", user=User(pk=42))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", VERBS)
async def test_an_applications_own_class_is_called_in_a_thread_or_in_the_loop(verb: Verb) -> None:
    access = RecordingAccess(answer=True)
    assert (await decide(ADA, verb, ["a", "b"], access=access)).allowed == ("a", "b")
    assert access.calls == [("42", "a"), ("42", "b")]


@pytest.mark.parametrize("verb", VERBS)
async def test_a_time_is_a_permission_until_then(verb: Verb) -> None:
    until = in_an_hour()
    access = RecordingAccess(until)
    decision = await decide(ADA, verb, ["a"], access=access)
    assert decision == Decision(("a",), (), until.timestamp())
    sooner = replace(ADA, until=until.timestamp() - 60)
    assert (await decide(sooner, verb, ["a"], access=access)).until == until.timestamp() - 60
    access = RecordingAccess(until - timedelta(hours=2))
    assert await decide(ADA, verb, ["a"], access=access) == Decision((), ("a",), None)


@pytest.mark.parametrize(
    ("answer", "error"),
    [(None, TypeError), (1, TypeError), (in_an_hour().replace(tzinfo=None), ValueError)],
)
async def test_an_invalid_answer_is_an_error_and_no_permission(
    answer: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="can_subscribe"):
        await decide(ADA, Verb.SUBSCRIBE, ["a"], access=RecordingAccess(answer))


async def test_nothing_is_allowed_unless_a_rule_allows_it() -> None:
    for access in (Access(), Rules()):
        for verb in VERBS:
            assert not (await decide(ADA, verb, ["a"], access=access)).allowed


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
def test_a_meaningless_rule_is_refused_where_it_is_written(make: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        make()


PUBLIC_RULES = Rules(subscribe=[public("t")])


@pytest.mark.parametrize("name", ["PUBLIC_RULES", "PublicAccess"])
def test_the_settings_name_rules_or_a_class(settings: DjangoSettings, name: str) -> None:
    settings.CARILLON = {**settings.CARILLON, "ACCESS": f"{__name__}.{name}"}
    assert active_rules().is_public("t")


class PublicAccess(Access):
    def is_public(self, topic: str) -> bool:
        return topic == "t"

    def can_subscribe(self, user: AnyUser, topic: str) -> Answer | Awaitable[Answer]:
        return super().can_subscribe(user, topic)


class LimitedHistory(Access):
    def is_public(self, topic: str) -> bool:
        return topic == "news"

    def can_subscribe(self, user: AnyUser, topic: str) -> bool:
        return True

    def history_since(self, user: AnyUser, topic: str) -> datetime | None:
        return None if topic == "all" else datetime.fromtimestamp(5.0001, UTC)


async def test_history_begins_at_the_time_of_the_rules() -> None:
    topics = ("room", "all", "news")
    user = Identity(kind=Kind.SESSION, name="user:1")
    scoped = replace(user, scope=Scope())
    limited = LimitedHistory()
    assert await history_limits(user, topics, access=limited) == {"room": 5001}
    assert await history_limits(scoped, topics, access=limited) == {}
    assert await history_limits(user, topics, access=Access()) == {}

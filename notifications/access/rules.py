"""Ready-made rules by topic pattern, which cover the needs of most applications."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth.models import PermissionsMixin
from django.core.exceptions import ValidationError
from django.db.models import Model

from notifications.access.base import Access, Answer
from notifications.access.identities.base import User
from notifications.topics import Pattern

type Captured = Mapping[str, str]
type Predicate = Callable[[User, Captured], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """Allows some users the topics that its patterns cover. A rule never forbids anything."""

    patterns: tuple[Pattern, ...]
    allows: Predicate
    public: bool = False
    link: bool = False
    checks_objects: bool = False


class Rules(Access):
    """Allows what at least one of its rules allows, and nothing else."""

    def __init__(self, *, subscribe: Sequence[Rule] = (), publish: Sequence[Rule] = ()) -> None:
        self._subscribe = tuple(subscribe)
        self._publish = tuple(publish)

    @property
    def checks_objects(self) -> bool:
        return any(rule.checks_objects for rule in (*self._subscribe, *self._publish))

    def is_public(self, topic: str) -> bool:
        return any(rule.public and _match(rule, topic) for rule in self._subscribe)

    def can_link(self, topic: str) -> bool:
        return any(rule.link and _match(rule, topic) for rule in self._subscribe)

    async def can_subscribe(self, user: User, topic: str) -> Answer:
        return await _first_permission(self._subscribe, user, topic)

    async def can_publish(self, user: User, topic: str) -> Answer:
        return await _first_permission(self._publish, user, topic)


async def _first_permission(rules: Sequence[Rule], user: User, topic: str) -> Answer:
    for rule in rules:
        for captured in _match(rule, topic):
            if answer := await rule.allows(user, captured):
                return answer
    return False


def _match(rule: Rule, topic: str) -> list[Captured]:
    matches = (pattern.match(topic) for pattern in rule.patterns)
    return [captured for captured in matches if captured is not None]


def _rule(patterns: Sequence[str], allows: Predicate, **flags: bool) -> Rule:
    if not patterns:
        raise TypeError("A rule needs at least one pattern.")
    return Rule(tuple(map(Pattern, patterns)), allows, **flags)


async def _always(_: User, __: Captured) -> Answer:
    return True


async def _never(_: User, __: Captured) -> Answer:
    return False


def public(*patterns: str) -> Rule:
    """Everybody, with or without credentials."""
    return _rule(patterns, _always, public=True)


def authenticated(*patterns: str) -> Rule:
    """All users who are logged in."""

    async def allows(user: User, _: Captured) -> Answer:
        return user.is_authenticated

    return _rule(patterns, allows)


def staff(*patterns: str) -> Rule:
    """Users who may use the admin."""

    async def allows(user: User, _: Captured) -> Answer:
        return user.is_active and bool(getattr(user, "is_staff", False))

    return _rule(patterns, allows)


def permission(name: str, *patterns: str) -> Rule:
    """Users with a permission, such as `shop.view_order`."""
    _split_permission(name)

    async def allows(user: User, _: Captured) -> Answer:
        return await _has_perm(user, name)

    return _rule(patterns, allows)


def group(name: str, *patterns: str) -> Rule:
    """Members of a group, by its name."""

    async def allows(user: User, _: Captured) -> Answer:
        if not (isinstance(user, PermissionsMixin) and user.is_active):
            return False
        return await user.groups.filter(name=name).aexists()

    return _rule(patterns, allows)


def own(*patterns: str) -> Rule:
    """Only the user whose own topic it is: `user.{id}`; with another field, `team.{team_id}`."""

    async def allows(user: User, captured: Captured) -> Answer:
        return user.is_authenticated and all(
            (own_value := getattr(user, "pk" if name == "id" else name)) is not None
            and value == str(own_value)
            for name, value in captured.items()
        )

    rule = _rule(patterns, allows)
    _require_captures(rule)
    return rule


def object_permission(name: str, *patterns: str, model: str | None = None) -> Rule:
    """Users for whom `user.has_perm(name, object)`, where the captured fields find the object.

    `orders.{pk}` with `shop.view_order` checks the `shop.Order` with that primary key; `model`
    names another model. Django's own backend knows no permissions of objects: configure one that
    does.
    """
    app, _, codename = _split_permission(name)
    label = model or f"{app}.{codename.partition('_')[2]}"

    async def allows(user: User, captured: Captured) -> Answer:
        instance = await _get_object(apps.get_model(label), captured)
        return instance is not None and await _has_perm(user, name, instance)

    rule = _rule(patterns, allows, checks_objects=True)
    _require_captures(rule)
    return rule


def linked(*patterns: str) -> Rule:
    """Clients with a signed link of this application that names exactly the topic."""
    return _rule(patterns, _never, link=True)


async def _has_perm(user: User, name: str, instance: Model | None = None) -> bool:
    # Not `ahas_perm`: that ignores backends which have no asynchronous `has_perm`.
    return isinstance(user, PermissionsMixin) and await sync_to_async(user.has_perm)(name, instance)


async def _get_object(model: type[Model], captured: Captured) -> Model | None:
    try:
        fields: dict[str, Any] = dict(captured)
        return await model._default_manager.filter(**fields).afirst()  # noqa: SLF001 - documented
    except (ValueError, ValidationError):
        return None  # no object can have such a key


def _split_permission(name: str) -> tuple[str, str, str]:
    if "." not in name:
        raise ValueError(f"The permission {name!r} has no app: write 'app.codename'.")
    return name.partition(".")


def _require_captures(rule: Rule) -> None:
    for pattern in rule.patterns:
        if "{" not in pattern.text:
            raise ValueError(f"The pattern {pattern.text!r} captures nothing: write '{{id}}'.")

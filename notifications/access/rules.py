"""Rules by pattern, ready-made: what most applications need to say."""

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
type Allows = Callable[[User, Captured], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """Allows some users the topics that its patterns cover. No rule ever forbids."""

    patterns: tuple[Pattern, ...]
    allows: Allows
    public: bool = False
    link: bool = False
    about_objects: bool = False


class Rules(Access):
    """Allows what one of its rules allows, and nothing else."""

    def __init__(self, *, subscribe: Sequence[Rule] = (), publish: Sequence[Rule] = ()) -> None:
        self._subscribe = tuple(subscribe)
        self._publish = tuple(publish)

    @property
    def asks_about_objects(self) -> bool:
        return any(rule.about_objects for rule in (*self._subscribe, *self._publish))

    def is_public(self, topic: str) -> bool:
        return any(rule.public and _match(rule, topic) for rule in self._subscribe)

    def can_link(self, topic: str) -> bool:
        return any(rule.link and _match(rule, topic) for rule in self._subscribe)

    async def can_subscribe(self, user: User, topic: str) -> Answer:
        return await _first_allowance(self._subscribe, user, topic)

    async def can_publish(self, user: User, topic: str) -> Answer:
        return await _first_allowance(self._publish, user, topic)


async def _first_allowance(rules: Sequence[Rule], user: User, topic: str) -> Answer:
    for rule in rules:
        for captured in _match(rule, topic):
            if answer := await rule.allows(user, captured):
                return answer
    return False


def _match(rule: Rule, topic: str) -> list[Captured]:
    return [found for each in rule.patterns if (found := each.match(topic)) is not None]


def _rule(patterns: Sequence[str], allows: Allows, **kinds: bool) -> Rule:
    if not patterns:
        raise TypeError("A rule needs at least one pattern.")
    return Rule(tuple(Pattern(each) for each in patterns), allows, **kinds)


async def _everybody(_: User, __: Captured) -> Answer:
    return True


async def _nobody(_: User, __: Captured) -> Answer:
    return False


def public(*patterns: str) -> Rule:
    """Everybody, known or not."""
    return _rule(patterns, _everybody, public=True)


def authenticated(*patterns: str) -> Rule:
    """Everybody who is logged in."""

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
    _codename(name)

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
    """Users whose own topic it is: `user.{id}`, or by another of their fields, `team.{team_id}`."""

    async def allows(user: User, captured: Captured) -> Answer:
        return user.is_authenticated and all(
            (mine := getattr(user, "pk" if name == "id" else name)) is not None
            and value == str(mine)
            for name, value in captured.items()
        )

    rule = _rule(patterns, allows)
    _need_names(rule)
    return rule


def object_permission(name: str, *patterns: str, model: str | None = None) -> Rule:
    """Users for whom `user.has_perm(name, object)`, the object being found by what is captured.

    `orders.{pk}` with `shop.view_order` is about the `shop.Order` of that key; `model` names
    another. Django's own backend knows no permissions of objects: it takes one that does.
    """
    app, _, codename = _codename(name)
    label = model or f"{app}.{codename.partition('_')[2]}"

    async def allows(user: User, captured: Captured) -> Answer:
        found = await _object(apps.get_model(label), captured)
        return found is not None and await _has_perm(user, name, found)

    rule = _rule(patterns, allows, about_objects=True)
    _need_names(rule)
    return rule


def linked(*patterns: str) -> Rule:
    """Whoever has a link that this application signed for that very topic."""
    return _rule(patterns, _nobody, link=True)


async def _has_perm(user: User, name: str, found: Model | None = None) -> bool:
    # Not `ahas_perm`: it passes over backends that have no asynchronous form of it.
    return isinstance(user, PermissionsMixin) and await sync_to_async(user.has_perm)(name, found)


async def _object(model: type[Model], captured: Captured) -> Model | None:
    try:
        lookup: dict[str, Any] = dict(captured)
        return await model._default_manager.filter(**lookup).afirst()  # noqa: SLF001 - Django's name
    except (ValueError, ValidationError):
        return None  # such a key nothing can have


def _codename(name: str) -> tuple[str, str, str]:
    if "." not in name:
        raise ValueError(f"The permission {name!r} has no app: write 'app.codename'.")
    return name.partition(".")


def _need_names(rule: Rule) -> None:
    for pattern in rule.patterns:
        if "{" not in pattern.text:
            raise ValueError(f"The pattern {pattern.text!r} captures nothing: write '{{id}}'.")

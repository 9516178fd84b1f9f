"""Ready-made rules by topic pattern, which cover the needs of most applications."""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth import get_backends
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model

from notifications.access.base import Access, Answer
from notifications.access.identities.base import User
from notifications.topics import Pattern

type Captured = Mapping[str, str]
type Predicate = Callable[[User, Captured], Awaitable[Answer]]

_CAPTURE = re.compile(r"\{(\w+)\}", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """Allows some users the topics that its patterns cover. A rule never forbids anything."""

    patterns: tuple[Pattern, ...]
    allows: Predicate
    public: bool = False
    link: bool = False
    checks_objects: bool = False
    user_fields: frozenset[str] | None = None
    """The fields of the user that it compares; None: any."""


class Rules(Access):
    """Allows what at least one of its rules allows, and nothing else.

    `user_fields`: as in `Access`; by default the fields that the patterns of `own` name.
    """

    def __init__(
        self,
        *,
        subscribe: Sequence[Rule] = (),
        publish: Sequence[Rule] = (),
        user_fields: Collection[str] | None = None,
    ) -> None:
        self._subscribe = tuple(subscribe)
        self._publish = tuple(publish)
        self._declared = user_fields
        if type(self).user_fields is Rules.user_fields:
            self.user_fields = user_fields if user_fields is not None else self._compared_fields()

    def _compared_fields(self) -> Collection[str] | None:
        if type(self) is not Rules:
            return None  # a subclass may ask anything
        compared: set[str] = set()
        for rule in (*self._subscribe, *self._publish):
            if rule.user_fields is None:
                return None
            compared |= rule.user_fields
        return frozenset(compared)

    @property
    def declares_user_fields(self) -> bool:
        return self._declared is not None or type(self).user_fields is not None

    @property
    def checks_objects(self) -> bool:
        return any(rule.checks_objects for rule in (*self._subscribe, *self._publish))

    def has_rule_for(self, topic: str) -> bool:
        """Whether anybody at all may be allowed to subscribe to it, other than by a link."""
        return any(not rule.link and _match(rule, topic) for rule in self._subscribe)

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


def _rule(
    patterns: Sequence[str],
    allows: Predicate,
    user_fields: frozenset[str] = frozenset(),
    **flags: bool,
) -> Rule:
    if not patterns:
        raise TypeError("A rule needs at least one pattern.")
    return Rule(tuple(map(Pattern, patterns)), allows, user_fields=user_fields, **flags)


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
        if not (user.is_authenticated and user.is_active):
            return False
        return await sync_to_async(_is_member)(user, name)

    return _rule(patterns, allows)


def own(*patterns: str) -> Rule:
    """Only the user whose own topic it is: `user.{id}`; with another field, `team.{team_id}`."""

    async def allows(user: User, captured: Captured) -> Answer:
        return user.is_authenticated and all(
            (own_value := getattr(user, "pk" if name == "id" else name)) is not None
            and value == str(own_value)
            for name, value in captured.items()
        )

    fields = {name for pattern in patterns for name in _CAPTURE.findall(pattern)}
    rule = _rule(patterns, allows, frozenset(fields))
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
    if not user.is_authenticated:
        return False
    # Not `ahas_perm`: that ignores backends which have no asynchronous `has_perm`.
    answer = await sync_to_async(_ask_has_perm)(user, name, instance)
    return bool(await answer if isawaitable(answer) else answer)


def _ask_has_perm(user: Any, name: str, instance: Model | None) -> Any:
    """The answer of the user model; without `has_perm` in it, that of the backends."""
    about = () if instance is None else (instance,)
    if (has_perm := getattr(user, "has_perm", None)) is not None:
        return has_perm(name, *about)
    for backend in get_backends():
        try:
            if _can_judge(backend, user) and backend.has_perm(user, name, *about):
                return True
        except PermissionDenied:
            return False
    return False


def _can_judge(backend: Any, user: object) -> bool:
    """Django's own backend reads `is_superuser`, which not every user model has."""
    own: Any = getattr(type(backend), "has_perm", None)
    return own is not None and (own is not ModelBackend.has_perm or hasattr(user, "is_superuser"))


def _is_member(user: Any, name: str) -> bool:
    groups: Any = getattr(user, "groups", None)
    return bool(hasattr(groups, "filter") and groups.filter(name=name).exists())


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

"""Decisions: which of some topics an identity may subscribe or publish to, by the active rules."""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils import timezone
from django.utils.module_loading import import_string

from notifications.access.base import Access, Answer
from notifications.access.identities.base import Identity, Kind, Verb
from notifications.access.rules import Rules, linked, own, permission, public
from notifications.conf import get_settings
from notifications.hub.primary import reads_from_primary

PUBLISH_PERMISSION = "carillon.publish_event"


@cache
def active_rules() -> Access:
    """The rules that `CARILLON["ACCESS"]` names, or the default. Raises `ImproperlyConfigured`."""
    path = get_settings().ACCESS
    if path is None:
        return default_rules()
    try:
        target = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"CARILLON['ACCESS']: {error}") from error
    rules = target() if isinstance(target, type) else target
    if not isinstance(rules, Access):
        raise ImproperlyConfigured(
            f"CARILLON['ACCESS']: {path} is no notifications.access.Access: make it "
            "Rules(subscribe=[…], publish=[…]), or a class of your own that inherits from Access."
        )
    return rules


def default_rules() -> Rules:
    """Subscribe to public topics, to one's own, and by a link; publish by the permission."""
    prefixes = get_settings().PUBLIC_TOPICS
    return Rules(
        subscribe=[*([public(*prefixes)] if prefixes else []), own("user.{id}"), linked("*")],
        publish=[permission(PUBLISH_PERMISSION, "*")],
    )


@receiver(setting_changed)
def _reload_rules(*, setting: str, **_: Any) -> None:
    if setting == "CARILLON":
        active_rules.cache_clear()


@dataclass(frozen=True, slots=True)
class Decision:
    """The topics of a request, split into allowed and denied.

    `until` is when the first permission among them ends, in seconds since 1970.
    """

    allowed: tuple[str, ...]
    denied: tuple[str, ...]
    until: float | None


async def decide(
    identity: Identity, verb: Verb, topics: Sequence[str], *, access: Access | None = None
) -> Decision:
    """Splits the topics into allowed and denied, by `access` (by default the active rules)."""
    with reads_from_primary():
        return await _decide(identity, verb, topics, access or active_rules())


async def _decide(
    identity: Identity, verb: Verb, topics: Sequence[str], access: Access
) -> Decision:
    answers: dict[str, Answer | None] = {
        topic: _answer_without_user(access, identity, verb, topic) for topic in topics
    }
    undecided = [topic for topic, answer in answers.items() if answer is None]
    if undecided:
        rule = access.can_subscribe if verb is Verb.SUBSCRIBE else access.can_publish
        answers |= zip(undecided, await _answers_of(rule, identity, undecided), strict=True)
    if all(answer is True for answer in answers.values()):
        return Decision(tuple(answers), (), identity.until)
    now = timezone.now()
    allowed = tuple(topic for topic, answer in answers.items() if _is_yes(answer, now))
    denied = tuple(topic for topic, answer in answers.items() if not _is_yes(answer, now))
    ends = [end.timestamp() for topic in allowed if isinstance(end := answers[topic], datetime)]
    if identity.until is not None:
        ends.append(identity.until)
    return Decision(allowed, denied, min(ends, default=None))


async def history_limits(
    identity: Identity, topics: Sequence[str], *, access: Access | None = None
) -> dict[str, int]:
    """The time (ms since 1970) from which each topic may be replayed.

    The result has only the topics whose history is limited. Credentials with a scope have no such
    limit, because the rules are about users.
    """
    access = access or active_rules()
    if identity.scope is not None or type(access).history_since is Access.history_since:
        return {}
    limited = [topic for topic in topics if not access.is_public(topic)]
    with reads_from_primary():
        starts = await _call_in_thread(access.history_since, identity, limited)
    for start in starts:
        _require_time_zone(access.history_since, start)
    return {
        topic: math.ceil(start.timestamp() * 1000)
        for topic, start in zip(limited, starts, strict=True)
        if start is not None
    }


def _is_yes(answer: Answer | None, now: datetime) -> bool:
    return answer > now if isinstance(answer, datetime) else answer is True


def _answer_without_user(access: Access, identity: Identity, verb: Verb, topic: str) -> bool | None:
    """The answer if it does not depend on the user; None if the rules have to be called."""
    if verb is Verb.SUBSCRIBE and access.is_public(topic):
        return True
    if identity.scope is None:
        return None
    may_link = identity.kind is not Kind.LINK or access.can_link(topic)
    return may_link and identity.scope.allows(verb, topic)


async def _answers_of(
    rule: Callable[..., Any], identity: Identity, topics: Sequence[str]
) -> list[Answer]:
    if inspect.iscoroutinefunction(rule):
        answers = [await rule(identity.user, topic) for topic in topics]
    else:
        answers = await _call_in_thread(rule, identity, topics)
    for answer in answers:
        if not isinstance(answer, bool | datetime):
            raise TypeError(
                f"{rule.__qualname__} answered {answer!r}, and not True, False or a time."
            )
        _require_time_zone(rule, answer)
    return answers


async def _call_in_thread(
    rule: Callable[..., Any], identity: Identity, topics: Sequence[str]
) -> list[Any]:
    """All topics in one visit to the thread."""
    return await sync_to_async(lambda: [rule(identity.user, topic) for topic in topics])()


def _require_time_zone(rule: Callable[..., Any], answer: object) -> None:
    if isinstance(answer, datetime) and timezone.is_naive(answer):
        raise ValueError(f"{rule.__qualname__} answered with a time that has no time zone.")

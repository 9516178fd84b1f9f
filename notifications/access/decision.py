"""What the rules say about somebody and some topics."""

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


@dataclass(frozen=True, slots=True)
class Decision:
    """`until`: when the first of what was allowed ends, in seconds since 1970."""

    allowed: tuple[str, ...]
    denied: tuple[str, ...]
    until: float | None


async def decide(identity: Identity, verb: Verb, topics: Sequence[str]) -> Decision:
    access = rules_in_force()
    said: dict[str, Answer | None] = {
        topic: _said_already(access, identity, verb, topic) for topic in topics
    }
    open_questions = [topic for topic, answer in said.items() if answer is None]
    if open_questions:
        ask = access.can_subscribe if verb is Verb.SUBSCRIBE else access.can_publish
        answers = await _asked(ask, identity, open_questions)
        said |= dict(zip(open_questions, answers, strict=True))
    now = timezone.now()
    allowed = tuple(topic for topic, answer in said.items() if _is_yes(answer, now))
    ends = [said[topic] for topic in allowed]
    until = [end.timestamp() for end in ends if isinstance(end, datetime)]
    until += [identity.until] if identity.until is not None else []
    denied = tuple(topic for topic, answer in said.items() if not _is_yes(answer, now))
    return Decision(allowed, denied, min(until, default=None))


async def history_limits(identity: Identity, topics: Sequence[str]) -> dict[str, int]:
    """From when on each topic may be replayed, in ms since 1970, where it is not all of it.

    Credentials with a scope say themselves what they allow, and that has no such limit.
    """
    access = rules_in_force()
    if identity.scope is not None or type(access).history_since is Access.history_since:
        return {}
    asked = [topic for topic in topics if not access.is_public(topic)]
    ask = access.history_since
    begins = await _in_thread(ask, identity, asked)
    for begin in begins:
        _need_zone(ask, begin)
    return {
        topic: math.ceil(begin.timestamp() * 1000)
        for topic, begin in zip(asked, begins, strict=True)
        if begin is not None
    }


def _is_yes(answer: Answer | None, now: datetime) -> bool:
    return answer > now if isinstance(answer, datetime) else answer is True


def _said_already(access: Access, identity: Identity, verb: Verb, topic: str) -> bool | None:
    """What is known without asking about the user; None if that has to be asked."""
    if verb is Verb.SUBSCRIBE and access.is_public(topic):
        return True
    if identity.scope is None:
        return None
    linked = identity.kind is not Kind.LINK or access.can_link(topic)
    return linked and identity.scope.allows(verb, topic)


async def _asked(
    ask: Callable[..., Any], identity: Identity, topics: Sequence[str]
) -> list[Answer]:
    if inspect.iscoroutinefunction(ask):
        answers = [await ask(identity.user, topic) for topic in topics]
    else:
        answers = await _in_thread(ask, identity, topics)
    for answer in answers:
        if not isinstance(answer, bool | datetime):
            raise TypeError(
                f"{ask.__qualname__} answered {answer!r}, and not True, False or a time."
            )
        _need_zone(ask, answer)
    return answers


async def _in_thread(
    ask: Callable[..., Any], identity: Identity, topics: Sequence[str]
) -> list[Any]:
    """One visit, whatever the number of topics."""
    return await sync_to_async(lambda: [ask(identity.user, topic) for topic in topics])()


def _need_zone(ask: Callable[..., Any], answer: object) -> None:
    if isinstance(answer, datetime) and timezone.is_naive(answer):
        raise ValueError(f"{ask.__qualname__} answered with a time that has no time zone.")


# Which rules are in force.


PUBLISH_PERMISSION = "carillon.publish_event"


@cache
def rules_in_force() -> Access:
    """`CARILLON["ACCESS"]`, or what it is without. Raises `ImproperlyConfigured`."""
    path = get_settings().ACCESS
    if path is None:
        return default_rules()
    try:
        found = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"CARILLON['ACCESS']: {error}") from error
    rules = found() if isinstance(found, type) else found
    if not isinstance(rules, Access):
        raise ImproperlyConfigured(
            f"CARILLON['ACCESS']: {path} is no notifications.access.Access: make it "
            "Rules(subscribe=[…], publish=[…]), or a class of your own that inherits from Access."
        )
    return rules


def default_rules() -> Rules:
    """What is public, what is a user's own, what was linked to; publishing by the permission."""
    prefixes = get_settings().PUBLIC_TOPICS
    return Rules(
        subscribe=[*([public(*prefixes)] if prefixes else []), own("user.{id}"), linked("*")],
        publish=[permission(PUBLISH_PERMISSION, "*")],
    )


@receiver(setting_changed)
def _forget(*, setting: str, **_: Any) -> None:
    if setting == "CARILLON":
        rules_in_force.cache_clear()

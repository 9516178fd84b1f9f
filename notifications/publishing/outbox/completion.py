"""Data that is made when an event is published: what is known only of committed rows, as counts.

An application registers a function for a type of its events. Until then, and where the function
fails, such an event is published as it was written.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from django.db import Error as DatabaseError

from notifications.conf import namespace as namespaces
from notifications.events import Event
from notifications.log.entries import Draft
from notifications.telemetry.logs import logger

POSTPONED: Any = object()
"""In place of data: the event waits, because an open transaction has locked its rows."""

type Complete = Callable[[str, Sequence[Event]], Sequence[Any]]
"""The data of these events of a database, in their order. It may run again for the same events."""

_completions: dict[str, Complete] = {}


def register(type: str, complete: Complete) -> None:
    """Have `complete` make the data of events of this type."""
    _completions[type] = complete


def completed(using: str, drafts: dict[int, Draft]) -> dict[int, Draft]:
    """The drafts with their data, without those that are postponed. Raises `DatabaseError`."""
    groups: defaultdict[tuple[str, str], dict[int, Draft]] = defaultdict(dict)
    for pk, draft in drafts.items():
        if draft.event.type in _completions:
            groups[draft.event.type, draft.namespace][pk] = draft
    made: dict[int, Draft | None] = {}
    for (type, namespace), group in groups.items():
        made |= _completed(using, type, namespace, group)
    all_drafts = {pk: made.get(pk, written) for pk, written in drafts.items()}
    return {pk: draft for pk, draft in all_drafts.items() if draft is not None}


def _completed(
    using: str, type: str, namespace: str, drafts: dict[int, Draft]
) -> dict[int, Draft | None]:
    """The drafts with their data; None for one that is postponed."""
    events = [draft.event for draft in drafts.values()]
    try:
        with namespaces.enter(namespace):
            data = _completions[type](using, events)
        return {
            pk: None if each is POSTPONED else replace(draft, event=replace(draft.event, data=each))
            for (pk, draft), each in zip(drafts.items(), data, strict=True)
        }
    except DatabaseError:
        raise
    except Exception:
        logger.exception("relay.incomplete", database=using, type=type)
        return {}

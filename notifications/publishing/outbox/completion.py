"""Data that is made when an event is published: what is known only of committed rows, as counts.

An application registers a function for a type of its events. Until then, and where the function
fails, such an event is published as it was written.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from django.db import Error as DatabaseError

from notifications.conf import namespace as namespaces
from notifications.publishing.outbox.rows import WaitingEvent
from notifications.telemetry.logs import logger

POSTPONED: Any = object()
"""In place of data: the event waits, because an open transaction has locked its rows."""

type Complete = Callable[[str, Sequence[Any]], Sequence[Any]]
"""The data of events of a database, in their order, of what was written as their data. It may run
again for the same events."""

_completions: dict[str, Complete] = {}


def register(type: str, complete: Complete) -> None:
    """Have `complete` make the data of events of this type."""
    _completions[type] = complete


def completed(using: str, events: Sequence[WaitingEvent]) -> list[Any]:
    """The data of each event, or `POSTPONED`. Raises `DatabaseError`."""
    groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for number, event in enumerate(events):
        if event.row.type in _completions:
            groups[event.row.type, event.namespace].append(number)
    all_data = [event.data for event in events]
    for (type, namespace), numbers in groups.items():
        made = _complete(using, type, namespace, [all_data[number] for number in numbers])
        for number, data in zip(numbers, made, strict=True):
            all_data[number] = data
    return all_data


def _complete(using: str, type: str, namespace: str, written: Sequence[Any]) -> Sequence[Any]:
    try:
        with namespaces.enter(namespace):
            made = _completions[type](using, written)
        if len(made) != len(written):
            raise ValueError(f"{len(made)} data were made for {len(written)} events")  # noqa: TRY301
    except DatabaseError:
        raise
    except Exception:
        logger.exception("relay.incomplete", database=using, type=type)
        return written
    return made

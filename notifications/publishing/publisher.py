"""Publishing: from Python, and what the publish endpoint stands on."""

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from django.db import DEFAULT_DB_ALIAS, transaction

from notifications.conf import get_settings
from notifications.errors import TooLarge, Unavailable
from notifications.events import Event
from notifications.hub import runtime
from notifications.log.base import Draft, Receipt
from notifications.log.factory import appender
from notifications.publishing import outbox
from notifications.telemetry.counters import process_counters

FROM_CODE = "code"


def publish(
    topic: str | Iterable[str],
    data: Any,
    *,
    type: str | None = None,
    id: str | None = None,
    idempotency_key: str | None = None,
    fail_silently: bool = False,
) -> Event:
    """Publish one event to one topic or several, and return it with its `cursor`.

    From any thread or process. A repeated `idempotency_key` publishes nothing and returns what was
    returned first. Raises `Invalid` or `TooLarge` for what cannot be an event, `Conflict` for a key
    used with another one, and `Unavailable` after a bounded wait (`PUBLISH_TIMEOUT`), which
    `fail_silently` turns into an event without a cursor.
    """
    event = build(topic, data, type=type, id=id)
    drafts = [draft(event, named=id is not None, key=idempotency_key)]
    try:
        receipts = append(drafts)
    except Unavailable:
        if not fail_silently:
            raise
        return event
    return _kept(event, receipts[0])


async def apublish(
    topic: str | Iterable[str],
    data: Any,
    *,
    type: str | None = None,
    id: str | None = None,
    idempotency_key: str | None = None,
    fail_silently: bool = False,
) -> Event:
    """As `publish`, from any event loop."""
    event = build(topic, data, type=type, id=id)
    drafts = [draft(event, named=id is not None, key=idempotency_key)]
    try:
        receipts = await aappend(drafts)
    except Unavailable:
        if not fail_silently:
            raise
        return event
    return _kept(event, receipts[0])


def publish_many(events: Iterable[Event]) -> list[Event]:
    """Publish events adjacent and in order, or none of them. Raises as `publish`."""
    given = [_within_limit(event) for event in events]
    receipts = append([draft(event, named=True) for event in given])
    return [_kept(event, receipt) for event, receipt in zip(given, receipts, strict=True)]


async def apublish_many(events: Iterable[Event]) -> list[Event]:
    """As `publish_many`, from any event loop."""
    given = [_within_limit(event) for event in events]
    receipts = await aappend([draft(event, named=True) for event in given])
    return [_kept(event, receipt) for event, receipt in zip(given, receipts, strict=True)]


def publish_on_commit(
    topic: str | Iterable[str],
    data: Any,
    *,
    type: str | None = None,
    id: str | None = None,
    using: str | None = None,
) -> None:
    """Publish when the database's transaction commits, at once outside of one, on rollback never.

    What cannot be an event raises here and now. By the time it is published the transaction is
    history, so a log that is away is told to Django's logger and not to the caller.
    """
    event = build(topic, data, type=type, id=id)

    # Not a `partial`: Django 5.2 logs a failure by the function's name, and a partial has none.
    def publish_it() -> None:
        publish_many([event])

    transaction.on_commit(publish_it, using=using, robust=True)


def publish_outbox(
    topic: str | Iterable[str],
    data: Any,
    *,
    type: str | None = None,
    id: str | None = None,
    using: str | None = None,
) -> Event:
    """Write the event into the outbox, in the database's transaction: once that has committed, the
    relay publishes it, however often it or the log fails meanwhile. Returns it without a cursor.

    Raises `Invalid` and `TooLarge` for what cannot be an event, and what the database raises.
    """
    event = build(topic, data, type=type, id=id)
    publish_outbox_many([event], using=using)
    return event


def publish_outbox_many(events: Iterable[Event], *, using: str | None = None) -> list[Event]:
    """As `publish_outbox`: all of them, in this order, or none."""
    given = [_within_limit(event) for event in events]
    database = using or DEFAULT_DB_ALIAS
    if database not in (relayed := get_settings().OUTBOX_DATABASES):
        raise ValueError(
            f"Nobody relays the outbox of the database {database!r}: "
            f"CARILLON['OUTBOX_DATABASES'] is {list(relayed)}."
        )
    outbox.write(given, using=database)
    if outbox.is_relayed_here(database):
        transaction.on_commit(partial(outbox.nudge, database), using=database)
    return given


def build(
    topic: str | Iterable[str],
    data: Any,
    *,
    type: str | None = None,
    id: str | None = None,
    retry: int | None = None,
) -> Event:
    """The event, within the limits of the settings."""
    topics = (topic,) if isinstance(topic, str) else tuple(topic)
    name = {} if id is None else {"id": id}
    return _within_limit(Event(topics=topics, data=data, type=type, retry=retry, **name))


def _within_limit(event: Event) -> Event:
    limit = get_settings().MAX_EVENT_BYTES
    if len(event.encoded) > limit:
        raise TooLarge(
            f"data is {len(event.encoded)} bytes; at most {limit} are allowed. "
            "Publish a reference to what is larger.",
            field="data",
        )
    return event


def draft(
    event: Event, *, named: bool, key: str | None = None, publisher: str = FROM_CODE
) -> Draft:
    """The event on its way, its key in the scope of the publisher.

    An id that was made for the event, not `named` by the publisher, differs at each repetition.
    """
    if key is None:
        return Draft(event, named=named)
    name = event.id if named else ""
    content = (event.topics, event.type, name, event.retry, event.is_text, event.encoded)
    return Draft(event, once(publisher, key), fingerprint(repr(content).encode()), named)


def once(publisher: str, *key: str) -> str:
    """The name under which a publisher's idempotency key is remembered."""
    return hashlib.sha256("\0".join((publisher, *key)).encode()).hexdigest()


def fingerprint(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def append(drafts: Sequence[Draft]) -> list[Receipt]:
    return _counted(appender(get_settings()).append(drafts))


async def aappend(drafts: Sequence[Draft]) -> list[Receipt]:
    """By the log that is open in this event loop, or else by a thread's; memory needs neither."""
    here = runtime.here()
    if here is not None:
        return _counted(await here.log.append(drafts))
    if get_settings().LOG == "memory":
        return append(drafts)
    return await asyncio.to_thread(append, drafts)


def _counted(receipts: list[Receipt]) -> list[Receipt]:
    process_counters.publish(sum(not each.duplicate for each in receipts))
    return receipts


def _kept(event: Event, receipt: Receipt) -> Event:
    return replace(event, id=receipt.id, cursor=str(receipt.cursor))

"""Publishing events: from Python, from the publish endpoint, and through the outbox."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from django.db import DEFAULT_DB_ALIAS, transaction

from notifications.conf import get_settings
from notifications.conf import namespace as namespaces
from notifications.conf.namespace import Namespace
from notifications.errors import TooLarge, Unavailable
from notifications.events import Event, Swap
from notifications.hub import runtime
from notifications.log.calls import run
from notifications.log.entries import Draft, Receipt
from notifications.log.factory import open_sync_log
from notifications.publishing import outbox
from notifications.telemetry.counters import process_counters
from notifications.telemetry.tracing import publication_span

CODE_PUBLISHER = "code"
"""The publisher's name for events published by Python code.

Each publisher has its own idempotency keys.
"""


def publish(
    topic: str | Iterable[str],
    data: Any,
    *,
    type: str | None = None,
    id: str | None = None,
    idempotency_key: str | None = None,
    fail_silently: bool = False,
    namespace: Namespace | None = None,
) -> Event:
    """Publish one event to one topic or several, and return it with its `cursor`.

    Works in any thread or process; with tenants, in the caller's own unless a `namespace` names
    another (`""`: what all tenants share). A repeated `idempotency_key` publishes nothing, and the
    event has the id and the cursor of the first call. Raises `Invalid` or `TooLarge` for arguments
    that make no event, `Conflict` for a key used with another event, and `Unavailable` after a
    bounded wait (`PUBLISH_TIMEOUT`), unless `fail_silently`: then the event comes back without a
    cursor.
    """
    event = build_event(topic, data, type=type, id=id)
    make_draft = partial(build_draft, named=id is not None, key=idempotency_key)
    return publish_event(event, namespace, make_draft, fail_silently=fail_silently)


async def apublish(
    topic: str | Iterable[str],
    data: Any,
    *,
    type: str | None = None,
    id: str | None = None,
    idempotency_key: str | None = None,
    fail_silently: bool = False,
    namespace: Namespace | None = None,
) -> Event:
    """As `publish`, for code in an event loop."""
    event = build_event(topic, data, type=type, id=id)
    make_draft = partial(build_draft, named=id is not None, key=idempotency_key)
    return await apublish_event(event, namespace, make_draft, fail_silently=fail_silently)


def publish_event(
    event: Event,
    namespace: Namespace | None,
    make_draft: Callable[..., Draft],
    *,
    fail_silently: bool,
) -> Event:
    """Publish one event that was built before. The other arguments are as in `publish`."""
    [event] = run(_publish([event], namespace, make_draft, fail_silently=fail_silently))
    return event


async def apublish_event(
    event: Event,
    namespace: Namespace | None,
    make_draft: Callable[..., Draft],
    *,
    fail_silently: bool,
) -> Event:
    """As `publish_event`, for code in an event loop."""
    publishing = _publish([event], namespace, make_draft, fail_silently=fail_silently, in_loop=True)
    [event] = await publishing
    return event


def publish_many(events: Iterable[Event], *, namespace: Namespace | None = None) -> list[Event]:
    """Publish events adjacent and in order, or none of them. Raises as `publish`."""
    return run(_publish(map(within_limit, events), namespace))


async def apublish_many(
    events: Iterable[Event], *, namespace: Namespace | None = None
) -> list[Event]:
    """As `publish_many`, for code in an event loop."""
    return await _publish(map(within_limit, events), namespace, in_loop=True)


async def _publish(
    events: Iterable[Event],
    namespace: Namespace | None,
    make_draft: Callable[..., Draft] = Draft,
    *,
    fail_silently: bool = False,
    in_loop: bool = False,
) -> list[Event]:
    """The events with their cursors. Unless `in_loop`, this blocks, and `run` may run it."""
    events = list(events)
    if namespace is None:
        namespace = await namespaces.acurrent() if in_loop else namespaces.current()
    drafts = [make_draft(event, namespace=namespace) for event in events]
    try:
        receipts = await aappend_drafts(drafts) if in_loop else append_drafts(drafts)
    except Unavailable:
        if not fail_silently:
            raise
        return events
    return [
        event.acknowledged(receipt.id, receipt.cursor_text)
        for event, receipt in zip(events, receipts, strict=True)
    ]


def publish_on_commit(
    topic: str | Iterable[str],
    data: Any,
    *,
    type: str | None = None,
    id: str | None = None,
    using: str | None = None,
) -> None:
    """Publish when the transaction commits, or at once if there is no transaction.

    If the transaction is rolled back, nothing is published. Arguments that make no event raise at
    once. The event is published after the transaction, so a failure of the log goes to Django's
    logger and not to the caller.
    """
    publish_events_on_commit([build_event(topic, data, type=type, id=id)], using=using)


def publish_events_on_commit(events: Sequence[Event], *, using: str | None) -> None:
    """As `publish_on_commit`, for events that were built before."""
    namespace = namespaces.current()

    # Not a `partial`: Django 5.2 logs a failure by the function's name, and a partial has none.
    def publish_events() -> None:
        publish_many(events, namespace=namespace)

    transaction.on_commit(publish_events, using=using, robust=True)


def publish_outbox(
    topic: str | Iterable[str],
    data: Any,
    *,
    type: str | None = None,
    id: str | None = None,
    using: str | None = None,
) -> Event:
    """Write the event into the outbox, in the database's transaction; return it without a cursor.

    Once the transaction has committed, the relay publishes the event, however often the relay or
    the log fails meanwhile. Raises `Invalid` or `TooLarge` for arguments that make no event, and
    what the database raises.
    """
    event = build_event(topic, data, type=type, id=id)
    publish_outbox_many([event], using=using)
    return event


def publish_outbox_many(events: Iterable[Event], *, using: str | None = None) -> list[Event]:
    """As `publish_outbox`, for several events: all of them, in this order, or none."""
    accepted = [within_limit(event) for event in events]
    database = using or DEFAULT_DB_ALIAS
    outbox.write(accepted, using=database)
    outbox.wake_on_commit(database)
    return accepted


def build_event(
    topic: str | Iterable[str],
    data: Any,
    *,
    type: str | None = None,
    id: str | None = None,
    retry: int | None = None,
    swap: Swap | None = None,
) -> Event:
    """An event within the limits of the settings. Raises `Invalid` or `TooLarge`."""
    topics = (topic,) if isinstance(topic, str) else tuple(topic)
    fields = {} if id is None else {"id": id}
    return within_limit(
        Event(topics=topics, data=data, type=type, retry=retry, swap=swap, **fields)
    )


def within_limit(event: Event) -> Event:
    """The event, if its data is not larger than `MAX_EVENT_BYTES`. Raises `TooLarge`."""
    limit = get_settings().MAX_EVENT_BYTES
    if len(event.encoded) > limit:
        raise TooLarge(
            f"data is {len(event.encoded)} bytes; at most {limit} are allowed. "
            "Publish a reference to larger data.",
            field="data",
        )
    return event


def build_draft(
    event: Event,
    *,
    named: bool,
    key: str | None = None,
    publisher: str = CODE_PUBLISHER,
    namespace: Namespace = "",
) -> Draft:
    """The event with its idempotency key in the scope of the publisher.

    An id that was generated for the event, not `named` by the publisher, differs at each
    repetition, so the fingerprint leaves it out.
    """
    if key is None:
        return Draft(event, None, "", named, (), "", namespace)
    name = event.id if named else ""
    content: tuple[object, ...] = (
        *(event.topics, event.type, name, event.retry, event.is_text, event.encoded),
        *([] if event.swap is None else [str(event.swap)]),
    )
    return Draft(
        event,
        scoped_key(publisher, key, namespace=namespace),
        fingerprint(repr(content).encode()),
        named,
        namespace=namespace,
    )


def scoped_key(publisher: str, *key: str, namespace: Namespace = "") -> str:
    """The name under which the log remembers a publisher's idempotency key."""
    publisher = namespaces.scoped(namespace, publisher)
    return hashlib.sha256("\0".join((publisher, *key)).encode()).hexdigest()


def fingerprint(content: bytes) -> str:
    """A digest that distinguishes a repetition from another event under the same key."""
    return hashlib.sha256(content).hexdigest()[:32]


def append_drafts(drafts: Sequence[Draft]) -> list[Receipt]:
    """Append to the log, and count the events. Blocks until the log has acknowledged them."""
    with publication_span(drafts, drafts[0].event.topics[0] if drafts else ""):
        return _append_drafts(drafts)


def _append_drafts(drafts: Sequence[Draft]) -> list[Receipt]:
    return _counted(open_sync_log(get_settings()).append(drafts))


async def aappend_drafts(drafts: Sequence[Draft]) -> list[Receipt]:
    """As `append_drafts`, by the log of this event loop's runtime, or else in a thread.

    A log in memory needs neither.
    """
    running = runtime.current()
    with publication_span(drafts, drafts[0].event.topics[0] if drafts else ""):
        if running is not None:
            return _counted(await running.log.append(drafts))
        if get_settings().LOG == "memory":
            return _append_drafts(drafts)
        return await asyncio.to_thread(_append_drafts, drafts)


def _counted(receipts: list[Receipt]) -> list[Receipt]:
    process_counters.count_published(sum(not receipt.duplicate for receipt in receipts))
    return receipts

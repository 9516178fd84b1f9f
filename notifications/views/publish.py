"""`POST /publish/`: appends one event, or a batch, to the log."""

import asyncio
import json
from collections.abc import Sequence

from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from notifications.access.authorization import authenticate_publisher, authorize_publish
from notifications.access.identities.base import Identity, Verb
from notifications.asgi.marker import nonblocking
from notifications.conf.namespace import scoped
from notifications.errors import Invalid, Unavailable
from notifications.log.entries import Draft, Receipt
from notifications.publishing.publisher import (
    aappend_drafts,
    build_draft,
    fingerprint,
    scoped_key,
)
from notifications.publishing.rate_limit import publish_rate_limit
from notifications.telemetry.audit import Attempt
from notifications.telemetry.logs import logger
from notifications.telemetry.tracing import parse_traceparent
from notifications.views.bodies import MAX_KEY_CHARACTERS, PublishRequest, parse_publish_request
from notifications.views.problems import check_method, problem_responses

IDEMPOTENCY_HEADER = "Idempotency-Key"
SMALL_BODY_BYTES = 64 * 1024
HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store"}


# `authenticate_publisher` checks CSRF for a session; another page cannot send a key.
@nonblocking
@problem_responses
async def publish(request: HttpRequest) -> HttpResponseBase:
    """201 once the log has the events, 200 if all of them were duplicates."""
    check_method(request, "POST", detail="Publishing is a POST.")
    with Attempt(request, Verb.PUBLISH) as attempted:
        identity = await _identity(request)
        attempted.by, attempted.namespace = identity.name, identity.namespace
        publisher = scoped(identity.namespace, identity.name)
        publish_rate_limit.check(publisher)
        if _is_small(request):
            parsed, drafts = _parse(request, identity)
        else:
            # Parsing a batch may take a second, and this event loop serves streams too.
            parsed, drafts = await asyncio.to_thread(_parse, request, identity)
        publish_rate_limit.take(publisher, len(drafts))
        attempted.topics = tuple(
            dict.fromkeys(topic for draft in drafts for topic in draft.event.topics)
        )
        await authorize_publish(identity, attempted.topics)
    if trace := parse_traceparent(request.META.get("HTTP_TRACEPARENT", "")):
        for draft in drafts:
            draft.trace = trace
    receipts = await aappend_drafts(drafts)
    duplicates = sum(receipt.duplicate for receipt in receipts)
    attempted.accepted(events=len(receipts), duplicates=duplicates)
    status = 201 if duplicates < len(receipts) else 200
    return HttpResponse(_results(parsed, receipts).encode(), status=status, headers=HEADERS)


async def _identity(request: HttpRequest) -> Identity:
    try:
        return await authenticate_publisher(request)
    except DatabaseError as error:
        logger.exception("publish.user_unknown")
        raise Unavailable("The sessions cannot be read now.", outcome="not_sent") from error


def _is_small(request: HttpRequest) -> bool:
    length = request.META.get("CONTENT_LENGTH", "")
    return length.isdecimal() and int(length[:9]) <= SMALL_BODY_BYTES


def _parse(request: HttpRequest, identity: Identity) -> tuple[PublishRequest, list[Draft]]:
    parsed = parse_publish_request(request)
    return parsed, _drafts(request, parsed, identity)


def _drafts(request: HttpRequest, parsed: PublishRequest, identity: Identity) -> list[Draft]:
    publisher, namespace = identity.name, identity.namespace
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        return [
            build_draft(
                item.event,
                named=item.named,
                key=item.idempotency_key,
                publisher=publisher,
                namespace=namespace,
            )
            for item in parsed.publications
        ]
    if not key or len(key) > MAX_KEY_CHARACTERS:
        raise Invalid(f"{IDEMPOTENCY_HEADER} has 1 to {MAX_KEY_CHARACTERS} characters.")
    if any(item.idempotency_key is not None for item in parsed.publications):
        raise Invalid(f"Use {IDEMPOTENCY_HEADER} or idempotency_key, not both in one request.")
    # The key stands for the whole request: each event gets a key derived from it, and all events
    # have the fingerprint of the body.
    body_fingerprint = fingerprint(parsed.body)
    return [
        Draft(
            item.event,
            scoped_key(publisher, "request", key, str(index), namespace=namespace),
            body_fingerprint,
            item.named,
            namespace=namespace,
        )
        for index, item in enumerate(parsed.publications)
    ]


def _results(parsed: PublishRequest, receipts: Sequence[Receipt]) -> str:
    """JSON. Texts that need no escape, or that most events share, are not encoded once for each."""
    topics: dict[Sequence[str], str] = {}
    results: list[str] = []
    for item, receipt in zip(parsed.publications, receipts, strict=True):
        names = topics.get(item.event.topics)
        if names is None:
            names = topics[item.event.topics] = json.dumps(item.event.topics)
        is_random = not (item.named or receipt.duplicate)
        id = f'"{receipt.id}"' if is_random else json.dumps(receipt.id)
        duplicate = ', "duplicate": true' if receipt.duplicate else ""
        results.append(
            f'{{"id": {id}, "cursor": "{receipt.cursor_text}", "topics": {names}{duplicate}}}'
        )
    return f'{{"events": [{", ".join(results)}]}}' if parsed.is_batch else results[0]

"""`POST /publish/`: appends one event, or a batch, to the log."""

import asyncio
import logging
from typing import Any

from django.db import Error as DatabaseError
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from notifications.access.authorization import authenticate_publisher, authorize_publish
from notifications.access.identities.base import Identity, Verb
from notifications.asgi.marker import nonblocking
from notifications.conf.namespace import scoped
from notifications.errors import Invalid, Unavailable
from notifications.events import Event
from notifications.log.entries import Draft, Receipt
from notifications.publishing.publisher import (
    aappend_drafts,
    build_draft,
    fingerprint,
    scoped_key,
)
from notifications.publishing.rate_limit import publish_rate_limit
from notifications.telemetry.audit import attempt
from notifications.views.bodies import MAX_KEY_CHARACTERS, PublishRequest, parse_publish_request
from notifications.views.problems import check_method, problem_responses

logger = logging.getLogger("carillon")

IDEMPOTENCY_HEADER = "Idempotency-Key"
SMALL_BODY_BYTES = 64 * 1024


# `authenticate_publisher` checks CSRF for a session; another page cannot send a key.
@nonblocking
@csrf_exempt
@problem_responses
async def publish(request: HttpRequest) -> HttpResponseBase:
    """201 once the log has the events, 200 if all of them were duplicates."""
    check_method(request, "POST", detail="Publishing is a POST.")
    with attempt(request, Verb.PUBLISH) as attempted:
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
    receipts = await aappend_drafts(drafts)
    duplicates = sum(receipt.duplicate for receipt in receipts)
    attempted.accepted(events=len(receipts), duplicates=duplicates)
    results = [
        _result(publication.event, receipt)
        for publication, receipt in zip(parsed.publications, receipts, strict=True)
    ]
    body = {"events": results} if parsed.is_batch else results[0]
    status = 201 if duplicates < len(receipts) else 200
    return JsonResponse(body, status=status, headers={"Cache-Control": "no-store"})


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


def _result(event: Event, receipt: Receipt) -> dict[str, Any]:
    result = {"id": receipt.id, "cursor": str(receipt.cursor), "topics": event.topics}
    return {**result, "duplicate": True} if receipt.duplicate else result

"""`POST /publish/`: one event, or a batch, into the log."""

import asyncio
import logging
from typing import Any

from django.db import Error as DatabaseError
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from notifications.access.authorization import check_publishing, publisher
from notifications.access.identities.base import Identity, Verb
from notifications.asgi.routes import runs_on_loop
from notifications.errors import Invalid, MethodNotAllowed, Unavailable
from notifications.events import Event
from notifications.log.base import Draft, Receipt
from notifications.publishing import rate_limit
from notifications.publishing.publisher import aappend, draft, fingerprint, once
from notifications.telemetry.audit import attempt
from notifications.views.bodies import Publications, publications_of
from notifications.views.problems import tells_problems

logger = logging.getLogger("carillon")

IDEMPOTENCY_HEADER = "Idempotency-Key"
MAX_KEY_CHARACTERS = 255
SMALL = 64 * 1024


# Whoever authenticates by session is checked for CSRF by `publisher`; a key cannot be forged.
@runs_on_loop
@csrf_exempt
@tells_problems
async def publish(request: HttpRequest) -> HttpResponseBase:
    """201 once the log has it, 200 if it had all of it before."""
    if request.method != "POST":
        raise MethodNotAllowed("Publishing is a POST.", allowed=("POST",))
    with attempt(request, Verb.PUBLISH) as attempted:
        who = await _who(request)
        attempted.by = who.name
        rate_limit.check(who.name)
        if _is_small(request):
            given, drafts = _read(request, who.name)
        else:
            # A batch may take a second to read, and this loop carries streams too.
            given, drafts = await asyncio.to_thread(_read, request, who.name)
        rate_limit.take(who.name, len(drafts))
        attempted.topics = tuple(
            dict.fromkeys(topic for draft in drafts for topic in draft.event.topics)
        )
        await check_publishing(who, attempted.topics)
    receipts = await aappend(drafts)
    duplicates = sum(receipt.duplicate for receipt in receipts)
    attempted.accepted(events=len(receipts), duplicates=duplicates)
    answers = [
        _answer(publication.event, receipt)
        for publication, receipt in zip(given.publications, receipts, strict=True)
    ]
    body = {"events": answers} if given.is_batch else answers[0]
    status = 201 if duplicates < len(receipts) else 200
    return JsonResponse(body, status=status, headers={"Cache-Control": "no-store"})


async def _who(request: HttpRequest) -> Identity:
    try:
        return await publisher(request)
    except DatabaseError as error:
        logger.exception("publish.user_unknown")
        raise Unavailable("The sessions cannot be read now.", outcome="not_sent") from error


def _is_small(request: HttpRequest) -> bool:
    length = request.META.get("CONTENT_LENGTH", "")
    return length.isdecimal() and int(length[:9]) <= SMALL


def _read(request: HttpRequest, who: str) -> tuple[Publications, list[Draft]]:
    given = publications_of(request)
    return given, _drafts(request, given, who)


def _drafts(request: HttpRequest, given: Publications, who: str) -> list[Draft]:
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        return [
            draft(each.event, named=each.named, key=each.idempotency_key, publisher=who)
            for each in given.publications
        ]
    if not key or len(key) > MAX_KEY_CHARACTERS:
        raise Invalid(f"{IDEMPOTENCY_HEADER} has 1 to {MAX_KEY_CHARACTERS} characters.")
    if any(each.idempotency_key is not None for each in given.publications):
        raise Invalid(f"Use {IDEMPOTENCY_HEADER} or idempotency_key, not both in one request.")
    # The key is for the request as a whole: each event has a part of it, and the same fingerprint.
    whole = fingerprint(given.body)
    return [
        Draft(each.event, once(who, "request", key, str(index)), whole, each.named)
        for index, each in enumerate(given.publications)
    ]


def _answer(event: Event, receipt: Receipt) -> dict[str, Any]:
    answer = {"id": receipt.id, "cursor": str(receipt.cursor), "topics": event.topics}
    return {**answer, "duplicate": True} if receipt.duplicate else answer

"""`/examples/chat/?live=1`: answers that are written into a topic, for any number of readers.

The writing is a task of the event loop, and not of the request that asked: whoever leaves stops
nothing, and whoever reloads, or opens the address elsewhere, has the whole answer once. It is known
by a secret in that address, which is also what it takes to stop it.
"""

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncIterable

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode

from notifications.access.identities.signed_links import events_url
from notifications.errors import BadRequest, CarillonError, Unavailable
from notifications.publishing.publisher import apublish
from notifications.publishing.token_stream import STOP, stop_topic, token_stream
from notifications.views.problems import problem_or_page
from notifications.views.security_headers import protect

logger = logging.getLogger("carillon")

MOST = 100
"""Answers that one process writes at the same time: nobody has to log in to ask."""

_SECRET = re.compile(r"[\w-]{22}", re.ASCII)
_writing: set[asyncio.Task[None]] = set()


async def answer_live(
    request: HttpRequest, question: str, words: AsyncIterable[str] | None
) -> HttpResponseBase:
    """The page, or what one of its forms asks for. `words` are the answer to the question."""
    try:
        if request.method != "POST":
            return _page(request, question)
        if "stop" in request.POST:
            await apublish(stop_topic(_topic(request.POST["stop"])), "", type=STOP)
            return HttpResponse(status=204)
        return _begin(question, words)
    except CarillonError as error:
        return problem_or_page(request, error)


def _begin(question: str, words: AsyncIterable[str] | None) -> HttpResponseRedirect:
    if words is None:
        raise BadRequest("There is no question.")
    if len(_writing) >= MOST:
        raise Unavailable("Too many answers are being written.", outcome="not_sent")
    secret = secrets.token_urlsafe(16)
    task = asyncio.create_task(_write(_topic(secret), words))
    _writing.add(task)
    task.add_done_callback(_writing.discard)
    query = urlencode([("live", "1"), ("answer", secret), ("question", question)])
    return HttpResponseRedirect(f"{reverse('demo:chat')}?{query}")


async def _write(topic: str, words: AsyncIterable[str]) -> None:
    try:
        async with token_stream(topic) as out:
            async for word in words:
                await out.send(word)
    except Unavailable as error:
        logger.warning("example.unanswered error=%r", error.detail)


def _page(request: HttpRequest, question: str) -> HttpResponse:
    secret = request.GET.get("answer", "")
    events = events_url(_topic(secret), since="all") if secret else ""
    context = {"question": question, "answer": secret, "events": events}
    return protect(render(request, "demo/live.html", context))


def _topic(secret: str) -> str:
    if not _SECRET.fullmatch(secret):
        raise BadRequest("There is no such answer.")
    return f"examples.chat.{secret}"

"""`/examples/chat/?live=1`: answers that are written into a topic, for any number of readers.

A task of the event loop writes the answer, not the request that asked for it. So a reader who
leaves stops nothing, and a reader who reloads the page, or opens its address elsewhere, gets the
whole answer once. The address holds a secret, which is all it takes to read or stop the answer.
"""

import asyncio
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
from notifications.telemetry.logs import logger
from notifications.views.problems import problem_or_page
from notifications.views.security_headers import protect

MAX_ANSWERS = 100
"""Answers that one process writes at the same time: a question needs no login."""

_SECRET = re.compile(r"[\w-]{22}", re.ASCII)


class LiveAnswers:
    """The live page, and the answers that this process is writing."""

    def __init__(self, *, max_answers: int = MAX_ANSWERS) -> None:
        self._max_answers = max_answers
        self._tasks: set[asyncio.Task[None]] = set()

    def show_page(self, request: HttpRequest, question: str) -> HttpResponseBase:
        try:
            secret = request.GET.get("answer", "")
            events = events_url(_topic(secret), since="all") if secret else ""
        except CarillonError as error:
            return problem_or_page(request, error)
        context = {"question": question, "answer": secret, "events": events}
        return protect(render(request, "demo/live.html", context))

    async def handle_form(
        self, request: HttpRequest, question: str, words: AsyncIterable[str] | None
    ) -> HttpResponseBase:
        """Begin to write `words`, which answer the question, or stop an answer."""
        try:
            if "stop" in request.POST:
                await apublish(stop_topic(_topic(request.POST["stop"])), "", type=STOP)
                return HttpResponse(status=204)
            return self._begin(question, words)
        except CarillonError as error:
            return problem_or_page(request, error)

    async def wait_until_written(self) -> None:
        await asyncio.gather(*self._tasks)

    def _begin(self, question: str, words: AsyncIterable[str] | None) -> HttpResponseRedirect:
        if words is None:
            raise BadRequest("There is no question.")
        if len(self._tasks) >= self._max_answers:
            raise Unavailable("Too many answers are being written.", outcome="not_sent")
        secret = secrets.token_urlsafe(16)
        task = asyncio.create_task(_write(_topic(secret), words))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        query = urlencode([("live", "1"), ("answer", secret), ("question", question)])
        return HttpResponseRedirect(f"{reverse('demo:chat')}?{query}")


async def _write(topic: str, words: AsyncIterable[str]) -> None:
    try:
        async with token_stream(topic) as out:
            async for word in words:
                await out.send(word)
    except Unavailable as error:
        logger.warning("demo.answer_failed", error=error.detail)


def _topic(secret: str) -> str:
    if not _SECRET.fullmatch(secret):
        raise BadRequest("There is no such answer.")
    return f"examples.chat.{secret}"

"""`GET /events/history.csv?topic=…`, `.ndjson` and `.json`: the retained log, to keep."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import islice
from urllib.parse import quote, urlencode

from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.timezone import now

from notifications.access.authorization import grant_for
from notifications.asgi.start_params import RESUME_PARAMETERS, start_of
from notifications.conf import get_settings
from notifications.errors import BadRequest, MethodNotAllowed, NotReady, Unavailable
from notifications.events import compact_json
from notifications.hub import runtime
from notifications.hub.grants import Grant
from notifications.hub.hub import Hub
from notifications.hub.subscribers import Start
from notifications.log.base import ResetReason
from notifications.log.cursors import Cursor, Position
from notifications.streaming.responses import StreamedFile
from notifications.views.cors import allow_origin, allow_preflight
from notifications.views.events import METHODS, READY_TIMEOUT, check_served, topics_asked
from notifications.views.history import export as export_module
from notifications.views.history.export import Cut, Export, Reading, Signal
from notifications.views.history.formats import Csv, Ndjson, Rendering
from notifications.views.history.permission import GrantWatch
from notifications.views.problems import AsyncView, tells_problems

FORMS: dict[str, type[Rendering]] = {"csv": Csv, "ndjson": Ndjson}
CHUNK = 64 * 1024
LIMIT, MAX_LIMIT = 100, 1_000
_UNFIT = re.compile(r"[^\w.-]+")


def history(form: str) -> AsyncView:
    """What was published to the `topic`s, from where `since` says up to now, and then ends."""

    @tells_problems
    async def without_cors(request: HttpRequest) -> HttpResponseBase:
        return await _history(request, form)

    # Not on the event loop's cheap way: that does not listen for a client that leaves.
    @tells_problems
    async def view(request: HttpRequest) -> HttpResponseBase:
        response = await without_cors(request)
        allow_origin(request, response)
        return response

    return view


async def _history(request: HttpRequest, form: str) -> HttpResponseBase:
    if request.method not in METHODS:
        raise MethodNotAllowed("History is read by a GET.", allowed=METHODS)
    if request.method == "OPTIONS":
        options = HttpResponse(status=204, headers={"Allow": ", ".join(METHODS)})
        allow_preflight(options)
        return options
    check_served(request)
    limit = _limit(request) if form == "json" else 0
    start, asked = start_of(request), topics_asked(request)
    here = runtime.start()
    if not await here.wait_ready(timeout=READY_TIMEOUT):
        raise NotReady("The window of the log has not been loaded, or this process is stopping.")
    try:
        grant = await grant_for(request, asked)
    except DatabaseError as error:
        raise NotReady("Who asks cannot be told now: the sessions are out of reach.") from error
    reading = export_module.begin()
    export = await _export(here, grant, start)
    response: HttpResponseBase
    if form == "json":
        with reading:
            response = await _page(request, export, limit)
    else:
        response = _file(request, export, form, reading)
    response["Cache-Control"] = "no-store"
    response["Carillon-Rows"] = str(here.hub.window.about(grant.topics, export.after.position))
    if grant.denied:
        response["Carillon-Denied"] = ",".join(quote(topic, safe="") for topic in grant.denied)
    return response


async def _export(here: runtime.Runtime, grant: Grant, start: Start) -> Export:
    until = await here.log.state()
    hub = here.hub
    if until.epoch != hub.head.epoch:
        raise NotReady("The log has just begun anew, which this process is about to notice.")
    after, missing = _begin(hub, start, until)
    return Export(here.log, grant, Cursor(until.epoch, after), until, missing)


def _begin(hub: Hub, start: Start, until: Cursor) -> tuple[Position, ResetReason | None]:
    """What a file begins after. One that cannot go on from its cursor has all there is."""
    place, missing = hub.place(start if start != Start() else Start(since_ms=0))
    if missing is None and place > until.position:
        missing = ResetReason.UNKNOWN
    return (hub.window.floor, missing) if missing else (place, None)


def _file(
    request: HttpRequest, export: Export, form: str, reading: Reading
) -> HttpResponse | StreamedFile:
    rendering = FORMS[form](export.until.epoch, frozenset(export.grant.topics))
    response = StreamedFile(
        _read(chunks(export, rendering), reading),
        content_type=rendering.content_type,
        filename=_filename(export.grant, form),
    )
    if request.method == "HEAD":
        return HttpResponse(headers=dict(response.headers))
    return response


async def _read(pieces: AsyncGenerator[bytes], reading: Reading) -> AsyncGenerator[bytes]:
    with reading:
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece


async def chunks(export: Export, rendering: Rendering) -> AsyncGenerator[bytes]:
    """The file, in pieces. Raises `Cut`, after a last piece, where the rest cannot be had."""
    waiting, size = [rendering.head], len(rendering.head)
    if export.grant.denied:
        data = {"topics": list(export.grant.denied), "reason": "forbidden"}
        waiting.append(rendering.signal("denied", data, export.after.position))
    grant_watch = GrantWatch(export.grant, max_age=get_settings().GRANT_MAX_AGE)
    async with aclosing(export.pages(grant_watch)) as pages:
        try:
            async for said in pages:
                if isinstance(said, Signal):
                    data = {"reason": said.reason}
                    waiting.append(rendering.signal(said.name, data, said.last))
                elif said.entries:
                    waiting.append(rendering.events(said.entries))
                size += len(waiting[-1]) if waiting else 0
                if size >= CHUNK:
                    yield b"".join(waiting)
                    waiting, size = [], 0
        except Cut:
            yield b"".join(waiting)
            raise
    if waiting:
        yield b"".join(waiting)


def _filename(grant: Grant, form: str) -> str:
    first = _UNFIT.sub("_", grant.topics[0])
    more = f"-and-{len(grant.topics) - 1}-more" if len(grant.topics) > 1 else ""
    return f"{first}{more}-{now():%Y-%m-%dT%H%M%SZ}.{form}"


# By pages


def _limit(request: HttpRequest) -> int:
    given = request.GET.get("limit", "") or str(LIMIT)
    if not (given.isascii() and given.isdecimal() and 1 <= int(given[:9]) <= MAX_LIMIT):
        raise BadRequest(f"limit={given!r} is not a number from 1 to {MAX_LIMIT}.")
    return int(given)


async def _page(request: HttpRequest, export: Export, limit: int) -> HttpResponse:
    rendering = Ndjson(export.until.epoch, frozenset(export.grant.topics))
    place, events, more = export.after.position, list[str](), False
    grant_watch = GrantWatch(export.grant, max_age=get_settings().GRANT_MAX_AGE)
    async with aclosing(export.pages(grant_watch)) as pages:
        try:
            async for said in pages:
                if isinstance(said, Signal):
                    events.append(rendering.word(said.name, {"reason": said.reason}, said.last))
                    continue
                taken = list(islice(said.entries, limit - len(events)))
                events += map(rendering.event, taken)
                more = len(taken) < len(said.entries) or len(events) >= limit
                place = taken[-1].position if len(taken) < len(said.entries) else said.last
                if more:
                    break
        except Cut as error:
            raise Unavailable(f"It could not all be read: {error}", outcome="not_sent") from error
    if not more:
        place = export.until.position
    return _answer(request, export, events, Cursor(export.until.epoch, place), more=more)


def _answer(
    request: HttpRequest, export: Export, events: list[str], cursor: Cursor, *, more: bool
) -> HttpResponse:
    following = _next(request, cursor) if more else None
    rest = compact_json(
        {"denied": list(export.grant.denied), "cursor": str(cursor), "next": following}
    )
    body = f'{{"events":[{",".join(events)}],{rest[1:]}'
    response = HttpResponse(body, content_type="application/json")
    if following:
        response["Link"] = f'<{following}>; rel="next"'
    if request.method == "HEAD":
        response.content = b""
    return response


def _next(request: HttpRequest, cursor: Cursor) -> str:
    """The same question, from where this page ends."""
    query = [
        (name, each)
        for name, values in request.GET.lists()
        for each in values
        if name not in ("since", *RESUME_PARAMETERS)
    ]
    return f"{request.path}?{urlencode([*query, ('since', str(cursor))])}"

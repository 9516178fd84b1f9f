"""`GET /events/history.csv?topic=…`, `.ndjson` and `.json`: the retained log as files or pages."""

import re
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from itertools import islice
from urllib.parse import quote, urlencode

from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.timezone import now

from notifications.access.authorization import authorize_subscribe
from notifications.asgi.start_params import RESUME_PARAMETERS, requested_start
from notifications.conf import get_settings
from notifications.errors import BadRequest, NotReady, Unavailable
from notifications.events import compact_json
from notifications.hub import runtime
from notifications.hub.grants import Grant
from notifications.hub.hub import Hub
from notifications.hub.resume import resolve_start
from notifications.hub.stream import READY_TIMEOUT_SECONDS
from notifications.hub.subscribers import Start
from notifications.log.cursors import Cursor, Position
from notifications.log.entries import ResetReason
from notifications.streaming.responses import StreamedFile
from notifications.views.cors import allow_origin
from notifications.views.events import (
    METHODS,
    check_streamable,
    preflight_response,
    requested_topics,
)
from notifications.views.history.export import (
    Export,
    ExportInterrupted,
    ExportSignal,
    ExportSlot,
    export_limit,
)
from notifications.views.history.formats import FORMATS, ExportFormat, NdjsonFormat
from notifications.views.history.permission import GrantWatch
from notifications.views.problems import AsyncView, check_method, problem_responses

CHUNK_BYTES = 64 * 1024
DEFAULT_LIMIT, MAX_LIMIT = 100, 1_000
_NOT_IN_FILENAMES = re.compile(r"[^\w.-]+")


def history(format_name: str) -> AsyncView:
    """The events of the `topic`s from `since` up to now. Formats: csv, ndjson; json by pages."""

    @problem_responses
    async def without_cors(request: HttpRequest) -> HttpResponseBase:
        if request.method == "OPTIONS":
            return preflight_response()
        return await _history(request, format_name)

    # Not marked as non-blocking: the fast path for such views does not listen for a disconnect.
    @problem_responses
    async def view(request: HttpRequest) -> HttpResponseBase:
        response = await without_cors(request)
        allow_origin(request, response)
        return response

    return view


async def _history(request: HttpRequest, format_name: str) -> HttpResponseBase:
    check_method(request, *METHODS, detail="History is read by a GET.")
    check_streamable(request)
    limit = _limit(request) if format_name == "json" else 0
    start, topics = requested_start(request), requested_topics(request)
    running = runtime.start()
    if not await running.wait_ready(timeout=READY_TIMEOUT_SECONDS):
        raise NotReady("The window of the log has not been loaded, or this process is stopping.")
    try:
        grant = await authorize_subscribe(request, topics)
    except DatabaseError as error:
        raise NotReady("The sessions cannot be read now.") from error
    slot = export_limit.acquire()
    export = await _export(running, grant, start)
    response: HttpResponseBase
    if format_name == "json":
        with slot:
            response = await _page(request, export, limit)
    else:
        response = _file(request, export, format_name, slot)
    rows = running.hub.window.estimate_following(grant.log_topics, export.after.position)
    response["Cache-Control"] = "no-store"
    response["Carillon-Rows"] = str(rows)
    if grant.denied:
        response["Carillon-Denied"] = ",".join(quote(topic, safe="") for topic in grant.denied)
    return response


async def _export(running: runtime.Runtime, grant: Grant, start: Start) -> Export:
    until = await running.log.state()
    hub = running.hub
    if until.epoch != hub.head.epoch:
        raise NotReady("A new epoch of the log has begun, and this process has not loaded it yet.")
    after, missing = _resolve_start(hub, start, grant.log_topics, until)
    return Export(running.log, grant, Cursor(until.epoch, after), until, missing)


def _resolve_start(
    hub: Hub, start: Start, topics: Collection[str], until: Cursor
) -> tuple[Position, ResetReason | None]:
    """The position before the first event. If the cursor is unusable, all that is retained."""
    start = start if start != Start() else Start(since_ms=0)
    position, missing = resolve_start(start, topics, hub.window, hub.head.epoch)
    if missing is None and position > until.position:
        missing = ResetReason.UNKNOWN
    return (hub.window.floor, missing) if missing else (position, None)


# Files


def _file(
    request: HttpRequest, export: Export, format_name: str, slot: ExportSlot
) -> HttpResponse | StreamedFile:
    export_format = FORMATS[format_name](export.until.epoch, frozenset(export.grant.log_topics))
    response = StreamedFile(
        _hold_slot(chunks(export, export_format), slot),
        content_type=export_format.content_type,
        filename=_filename(export.grant, format_name),
    )
    if request.method == "HEAD":
        return HttpResponse(headers=dict(response.headers))
    return response


async def _hold_slot(source: AsyncGenerator[bytes], slot: ExportSlot) -> AsyncGenerator[bytes]:
    with slot:
        async with aclosing(source):
            async for chunk in source:
                yield chunk


async def chunks(export: Export, export_format: ExportFormat) -> AsyncGenerator[bytes]:
    """The file in chunks. Raises `ExportInterrupted`, after a last chunk with the reason."""
    pending, size = [export_format.head], len(export_format.head)
    if export.grant.denied:
        data = {"topics": list(export.grant.denied), "reason": "forbidden"}
        pending.append(export_format.signal("denied", data, export.after.position))
    grant_watch = GrantWatch(export.grant, max_age=get_settings().GRANT_MAX_AGE)
    async with aclosing(export.pages(grant_watch)) as pages:
        try:
            async for page in pages:
                if isinstance(page, ExportSignal):
                    data = {"reason": page.reason}
                    pending.append(export_format.signal(page.name, data, page.last))
                elif page.entries:
                    pending.append(export_format.events(page.entries))
                size += len(pending[-1]) if pending else 0
                if size >= CHUNK_BYTES:
                    yield b"".join(pending)
                    pending, size = [], 0
        except ExportInterrupted:
            yield b"".join(pending)
            raise
    if pending:
        yield b"".join(pending)


def _filename(grant: Grant, format_name: str) -> str:
    first = _NOT_IN_FILENAMES.sub("_", grant.topics[0])
    more = f"-and-{len(grant.topics) - 1}-more" if len(grant.topics) > 1 else ""
    return f"{first}{more}-{now():%Y-%m-%dT%H%M%SZ}.{format_name}"


# Pages of JSON


def _limit(request: HttpRequest) -> int:
    text = request.GET.get("limit", "") or str(DEFAULT_LIMIT)
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= MAX_LIMIT):
        raise BadRequest(f"limit={text!r} is not a number from 1 to {MAX_LIMIT}.")
    return int(text)


async def _page(request: HttpRequest, export: Export, limit: int) -> HttpResponse:
    encoder = NdjsonFormat(export.until.epoch, frozenset(export.grant.log_topics))
    position, events, more = export.after.position, list[str](), False
    grant_watch = GrantWatch(export.grant, max_age=get_settings().GRANT_MAX_AGE)
    async with aclosing(export.pages(grant_watch)) as pages:
        try:
            async for page in pages:
                if isinstance(page, ExportSignal):
                    data = {"reason": page.reason}
                    events.append(encoder.signal_json(page.name, data, page.last))
                    continue
                taken = list(islice(page.entries, limit - len(events)))
                events += map(encoder.event_json, taken)
                more = len(taken) < len(page.entries) or len(events) >= limit
                position = taken[-1].position if len(taken) < len(page.entries) else page.last
                if more:
                    break
        except ExportInterrupted as error:
            raise Unavailable(f"It could not all be read: {error}", outcome="not_sent") from error
    if not more:
        position = export.until.position
    return _page_response(request, export, events, Cursor(export.until.epoch, position), more=more)


def _page_response(
    request: HttpRequest, export: Export, events: list[str], cursor: Cursor, *, more: bool
) -> HttpResponse:
    next_url = _next_url(request, cursor) if more else None
    fields = compact_json(
        {"denied": list(export.grant.denied), "cursor": str(cursor), "next": next_url}
    )
    body = f'{{"events":[{",".join(events)}],{fields[1:]}'
    response = HttpResponse(body, content_type="application/json")
    if next_url:
        response["Link"] = f'<{next_url}>; rel="next"'
    if request.method == "HEAD":
        response.content = b""
    return response


def _next_url(request: HttpRequest, cursor: Cursor) -> str:
    """The same query, from where this page ends."""
    query = [
        (name, value)
        for name, values in request.GET.lists()
        for value in values
        if name not in ("since", *RESUME_PARAMETERS)
    ]
    return f"{request.path}?{urlencode([*query, ('since', str(cursor))])}"

"""Verdicts that need nothing but an open stream: how it starts, and who may read it."""

import httpx

from notifications.hub.subscribers import ORIGIN_AWAY
from notifications.management.doctor.proxies import Subject, cure
from notifications.management.doctor.target import (
    ENCODINGS,
    ProbeStream,
    StreamEnded,
    StreamTimeout,
    Target,
)
from notifications.management.doctor.verdicts import Verdict, advice, fault, ok, untested
from notifications.sse import CONTENT_TYPE, ServerSentEvent

MAP_TO_RETRY = (
    "map 502, 503 and 504 on this path to a 200 with an event that has a 'retry: 3000', as "
    "text/event-stream (docs/deploy.md): browsers give up for good on any other status."
)
GIVE_KEY = (
    "give it --key with a key that may do both (manage.py carillon keys create doctor --subscribe "
    "doctor --publish doctor --expires 1h), or --topic with a public topic."
)
STATUSES = {
    401: ("the key is not known, or has expired", GIVE_KEY),
    403: ("the topic is not public, and no key was given that may subscribe to it", GIVE_KEY),
    404: ("nothing is there", "give the URL of the streams, such as https://example.com/events/."),
    405: ("this is not Carillon", "give the URL of the streams."),
    501: (
        "WSGI serves this path",
        "serve it by ASGI: manage.py carillon serve, Daphne or uvicorn.",
    ),
    502: ("the proxy does not reach the origin", f"start the origin; and {MAP_TO_RETRY}"),
    503: ("no server is ready to answer", f"start the origin; and {MAP_TO_RETRY}"),
    504: ("the origin does not answer the proxy", f"check the origin; and {MAP_TO_RETRY}"),
}
"""What each status means, and its cure."""


def status(stream: ProbeStream) -> Verdict | None:
    """A fault unless the response is a stream."""
    response = stream.response
    if response.status_code != 200:
        return _error_status(response)
    content_type = response.headers.get("content-type", "")
    if content_type.partition(";")[0].strip() != CONTENT_TYPE:
        text = f"The response is {content_type or 'of no type'}, and is not a stream."
        return fault("reach", text, "give the URL of /events/.")
    return None


def _error_status(response: httpx.Response) -> Verdict:
    code = response.status_code
    if response.is_redirect:
        to = response.headers.get("location", "elsewhere")
        return fault("reach", f"Redirected ({code}) to {to}.", f"probe and subscribe there: {to}")
    why, cure = STATUSES.get(code, ("an error", "see the log of the origin, and of the proxy."))
    return fault("reach", f"Answered {code}: {why}.", cure)


async def first_block(
    target: Target, stream: ProbeStream
) -> tuple[Verdict, ServerSentEvent | None]:
    """Whether the first block comes at once; and that block, unless the stream ends with it."""
    try:
        first = await stream.next()
    except StreamTimeout:
        text = f"The headers came, and no byte of the stream within {stream.timeout:g} s."
        return fault("first byte", text, await cure(target, Subject.BUFFERING)), None
    except StreamEnded as end:
        if stream.body.startswith(b"retry:"):
            text = "The origin is away, and the proxy makes clients retry, some of them at once."
            return fault("first byte", text, f"start the origin; and {MAP_TO_RETRY}"), None
        return fault("first byte", f"Nothing came: {end}.", "see the log of the origin."), None
    if first.type == "stream.closing" and ORIGIN_AWAY in first.data:
        text = "The origin is away, and the proxy makes clients retry: as it should."
        return fault("first byte", text, "start the origin."), None
    if first.type == "stream.closing":
        text = f"The service ends the stream at once: {first.data}"
        return fault("first byte", text, "see the log of the origin, and /health/ready."), None
    milliseconds = 1000 * (stream.first_byte_at - stream.opened_at)
    return ok("first byte", f"after {milliseconds:.0f} ms"), first


def http_version(target: Target, stream: ProbeStream) -> Verdict:
    version = stream.response.http_version
    if version == "HTTP/1.0":
        return fault(
            "http",
            "HTTP/1.0: a response ends with its connection, and some proxies buffer it until then.",
            "nginx: proxy_http_version 1.1; others: use HTTP/1.1 or 2 on both sides.",
        )
    if version == "HTTP/1.1" and target.is_secure and target.http2:
        return advice(
            "http",
            "HTTP/1.1: a browser has six connections over all its tabs, and the seventh hangs.",
            "HTTP/2 at the proxy (nginx: http2; HAProxy: alpn h2,http/1.1; Caddy has it).",
        )
    note = "" if target.is_secure else ", without TLS: browsers have six connections over all tabs"
    note = note if target.http2 else ", as asked for"
    return ok("http", version + note)


async def compression(target: Target) -> Verdict:
    """Whether the stream is compressed.

    A separate request asks for all encodings that browsers take, since httpx cannot read them all.
    """
    try:
        async with target.open(encodings=ENCODINGS) as stream:
            encoding = stream.response.headers.get("content-encoding", "identity")
    except (StreamTimeout, httpx.HTTPError):
        encoding = "no response at all"
    if encoding == "identity":
        return ok("compression", "none")
    return fault(
        "compression",
        f"The stream is compressed ({encoding}): a compressor waits for more data, and keeps its "
        "state for each stream.",
        "Django: no GZipMiddleware (carillon.W022, W023); "
        + await cure(target, Subject.COMPRESSION),
    )


async def cors(target: Target, origin: str | None) -> Verdict:
    """Whether pages of another origin may read the stream, and resume it by fetch."""
    if origin is None:
        return untested("cors", "Pages of which other site?", "--origin https://app.example.com")
    try:
        response = await target.request("GET", Origin=origin)
        preflight = await target.request(
            "OPTIONS",
            Origin=origin,
            Access_Control_Request_Method="GET",
            Access_Control_Request_Headers="last-event-id",
        )
    except (TimeoutError, httpx.HTTPError) as error:
        text = f"Not answered: {type(error).__name__}."
        return fault("cors", text, await cure(target, Subject.BUFFERING))
    allowed = response.headers.get_list("access-control-allow-origin")
    if len(allowed) > 1:
        return fault(
            "cors",
            "Access-Control-Allow-Origin comes twice, which browsers refuse.",
            "let Carillon alone send it: remove add_header and the like from the proxy.",
        )
    if allowed not in ([origin], ["*"]):
        return fault(
            "cors",
            f"{origin} may not read the stream (Access-Control-Allow-Origin: {allowed or 'none'}).",
            f"CARILLON_CORS_ALLOWED_ORIGINS={origin}, and a proxy that lets the header through.",
        )
    headers = preflight.headers.get("access-control-allow-headers", "").lower()
    if not (preflight.is_success and ("last-event-id" in headers or "*" in headers)):
        return fault(
            "cors",
            f"A preflight for last-event-id is answered {preflight.status_code} without allowing "
            "it: clients that use fetch cannot resume.",
            "let OPTIONS through to Carillon; with django-cors-headers see carillon.W007.",
        )
    return ok("cors", f"{origin} may read the stream, and resume")

"""What can be told by opening a stream: that it begins, how, and who may read it."""

import httpx

from notifications.management.doctor.target import ENCODINGS, Ended, Listener, Patient, Silence
from notifications.management.doctor.verdicts import Verdict, advice, fault, ok, untested
from notifications.sse import CONTENT_TYPE, ServerSentEvent

UNBUFFERED = (
    "nginx: proxy_buffering off (or let X-Accel-Buffering through); no gzip on text/event-stream. "
    "Caddy: flush_interval -1. Others: switch buffering off for this path (docs/deploy.md)."
)
COME_BACK = (
    "map 502, 503 and 504 on this path to a 200 that says 'retry: 3000' as text/event-stream "
    "(docs/deploy.md): browsers give up for good on any other status."
)
WHO = (
    "give it --key with a key that may do both (manage.py carillon keys create doctor --subscribe "
    "doctor --publish doctor --expires 1h), or --topic with one that is public."
)
STATUSES = {
    401: ("the key is not known, or has ended", WHO),
    403: ("the topic is not public, and no key was given that may hear it", WHO),
    404: ("nothing is there", "give the URL of the streams, such as https://example.com/events/."),
    405: ("another thing than Carillon is there", "give the URL of the streams."),
    501: (
        "WSGI serves this path",
        "serve it by ASGI: manage.py carillon serve, Daphne or uvicorn.",
    ),
    502: ("the proxy does not reach the origin", f"start the origin; and {COME_BACK}"),
    503: ("nobody is ready to answer", f"start the origin; and {COME_BACK}"),
    504: ("the origin does not answer the proxy", f"see to the origin; and {COME_BACK}"),
}


def status(listener: Listener) -> Verdict | None:
    """None where it is a stream."""
    response = listener.response
    if response.status_code != 200:
        return _refused(response)
    kind = response.headers.get("content-type", "")
    if kind.partition(";")[0].strip() != CONTENT_TYPE:
        text = f"It is answered with {kind or 'no type'}, and is no stream."
        return fault("reach", text, "give the URL of /events/.")
    return None


def _refused(response: httpx.Response) -> Verdict:
    code = response.status_code
    if response.is_redirect:
        to = response.headers.get("location", "elsewhere")
        return fault("reach", f"Redirected ({code}) to {to}.", f"probe and subscribe there: {to}")
    why, cure = STATUSES.get(code, ("an error", "see the log of the origin, and of the proxy."))
    return fault("reach", f"Answered {code}: {why}.", cure)


async def beginning(listener: Listener) -> tuple[Verdict, ServerSentEvent | None]:
    """Whether the first block comes at once."""
    try:
        first = await listener.next()
    except Silence:
        text = f"The headers came, and of the stream nothing within {listener.patience:g} s."
        return fault("first byte", text, UNBUFFERED), None
    except Ended as end:
        if listener.body.startswith(b"retry:"):
            text = "The proxy says for an origin that is away to come back: as it should."
            return fault("first byte", text, "start the origin."), None
        return fault("first byte", f"Nothing came: {end}.", "see the log of the origin."), None
    if first.type == "stream.closing":
        text = f"The service ends the stream at once: {first.data}"
        return fault("first byte", text, "see the log of the origin, and /health/ready."), None
    return ok("first byte", f"after {1000 * (listener.first - listener.began):.0f} ms"), first


def version(patient: Patient, listener: Listener) -> Verdict:
    spoken = listener.response.http_version
    if spoken == "HTTP/1.0":
        return fault(
            "http",
            "HTTP/1.0: a stream ends with its connection, and some hold it back until then.",
            "nginx: proxy_http_version 1.1; others: speak HTTP/1.1 or 2 on both sides.",
        )
    if spoken == "HTTP/1.1" and patient.is_secure:
        return advice(
            "http",
            "HTTP/1.1: a browser has six connections over all its tabs, and the seventh hangs.",
            "HTTP/2 at the proxy (nginx: http2; HAProxy: alpn h2,http/1.1; Caddy has it).",
        )
    note = "" if patient.is_secure else ", without TLS: browsers have six connections over all tabs"
    return ok("http", spoken + note)


async def compression(patient: Patient) -> Verdict:
    """Asked for by a request of its own, since not all of what browsers take can be read here."""
    try:
        async with patient.open(encodings=ENCODINGS) as listener:
            coding = listener.response.headers.get("content-encoding", "identity")
    except (Silence, httpx.HTTPError):
        coding = "held back altogether"
    if coding == "identity":
        return ok("compression", "none")
    return fault(
        "compression",
        f"The stream is compressed ({coding}): what compresses waits for more to compress, and "
        "keeps its state for each stream.",
        "nginx: gzip off for this path; Caddy: no encode there; Django: no GZipMiddleware "
        "(carillon.W022, W023); a CDN: heed Cache-Control: no-transform.",
    )


async def cors(patient: Patient, origin: str | None) -> Verdict:
    if origin is None:
        return untested("cors", "Pages of which other site?", "--origin https://app.example.com")
    try:
        answer = await patient.ask("GET", Origin=origin)
        preflight = await patient.ask(
            "OPTIONS",
            Origin=origin,
            Access_Control_Request_Method="GET",
            Access_Control_Request_Headers="last-event-id",
        )
    except (TimeoutError, httpx.HTTPError) as error:
        return fault("cors", f"Not answered: {type(error).__name__}.", UNBUFFERED)
    allowed = answer.headers.get_list("access-control-allow-origin")
    if len(allowed) > 1:
        return fault(
            "cors",
            "Access-Control-Allow-Origin comes twice, which browsers refuse.",
            "let Carillon alone send it: take add_header and the like out of the proxy.",
        )
    if allowed not in ([origin], ["*"]):
        return fault(
            "cors",
            f"{origin} may not read the stream (Access-Control-Allow-Origin: {allowed or 'none'}).",
            f"CARILLON_CORS_ALLOWED_ORIGINS={origin}, and a proxy that lets the header through.",
        )
    heads = preflight.headers.get("access-control-allow-headers", "").lower()
    if not (preflight.is_success and ("last-event-id" in heads or "*" in heads)):
        return fault(
            "cors",
            f"A preflight for last-event-id is answered {preflight.status_code} without allowing "
            "it: clients that use fetch cannot resume.",
            "let OPTIONS through to Carillon; with django-cors-headers see carillon.W007.",
        )
    return ok("cors", f"{origin} may read the stream, and resume")

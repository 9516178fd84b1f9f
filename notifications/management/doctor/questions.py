"""The doctor's questions in their order, and when the rest of them cannot be answered."""

from collections.abc import AsyncGenerator

import httpx

from notifications.management.doctor import connection, delivery
from notifications.management.doctor.proxies import Subject, cure
from notifications.management.doctor.target import ProbeStream, StreamTimeout, Target
from notifications.management.doctor.verdicts import Verdict, fault, ok, untested
from notifications.sse import ServerSentEvent


async def diagnose(
    target: Target, *, origin: str | None = None, idle_seconds: float = 0
) -> AsyncGenerator[Verdict]:
    try:
        async with target.open() as stream:
            if not_a_stream := connection.status(stream):
                yield not_a_stream
                return
            yield ok("reach", f"{target.events_url} streams")
            yield connection.http_version(target, stream)
            yield await connection.compression(target)
            verdict, first = await connection.first_block(target, stream)
            yield verdict
            if first is None:
                for name in ("chunks", "resume", "disconnect"):
                    yield untested(name, "Not where nothing arrives.")
            else:
                async for verdict in _delivery_verdicts(target, stream, first):
                    yield verdict
            yield await connection.cors(target, origin)
            if idle_seconds and first is not None:
                yield await delivery.idle(target, stream, idle_seconds)
            elif not idle_seconds:
                yield untested("idle", "For how long?", "--idle 120, in seconds")
    except StreamTimeout:
        yield await _no_response(target)
    except httpx.HTTPError as error:
        text = f"{target.events_url}: {type(error).__name__}: {error}"
        yield fault("reach", text, "is the address right, the name known, the certificate valid?")


async def _delivery_verdicts(
    target: Target, stream: ProbeStream, first: ServerSentEvent
) -> AsyncGenerator[Verdict]:
    cannot_publish = await delivery.publishing(target)
    if cannot_publish is not None:
        yield cannot_publish
    else:
        yield await delivery.chunks(target, stream)
    try:
        yield await delivery.resume(target, first, publishes=cannot_publish is None)
        if cannot_publish is not None:
            yield untested("disconnect", delivery.NO_KEY, connection.GIVE_KEY)
        else:
            yield await delivery.disconnect(target, stream)
    except httpx.HTTPError as error:
        yield fault("publishing", f"It failed once: {type(error).__name__}", "try again.")


async def _no_response(target: Target) -> Verdict:
    """Not even a status came. A HEAD request shows whether a proxy buffers the response."""
    try:
        head = await target.request("HEAD")
    except (TimeoutError, httpx.HTTPError):
        text = f"No response from {target.events_url} in {target.timeout:g} s."
        return fault("reach", text, "check the origin: /health/live, and its log.")
    text = (
        f"A HEAD request is answered ({head.status_code}), and a stream is not in "
        f"{target.timeout:g} s: a proxy waits for its end."
    )
    return fault("first byte", text, await cure(target, Subject.BUFFERING))

"""Verdicts that need events or time: whether events arrive at once, and whether a stream lasts."""

import secrets
import time

import httpx

from notifications.management.doctor.connection import GIVE_KEY, STOP_BUFFERING
from notifications.management.doctor.target import ProbeStream, StreamEnded, StreamTimeout, Target
from notifications.management.doctor.verdicts import Verdict, fault, ok, untested
from notifications.sse import ServerSentEvent

EVENTS = 5
NO_KEY = "Not without a key to publish with."


async def publishing(target: Target) -> Verdict | None:
    """A fault, or `untested` without a key, unless events can be published."""
    if target.key is None:
        return untested("chunks", NO_KEY, GIVE_KEY)
    try:
        response = await target.publish("permission check")
    except httpx.HTTPError as error:
        text = f"{target.publish_url} cannot be reached ({type(error).__name__})."
        return fault("publishing", text, "let the proxy pass it to Carillon too.")
    if response.is_success:
        return None
    text = f"{target.publish_url} answers {response.status_code}: {_detail(response)}"
    return fault("publishing", text, GIVE_KEY)


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return "not by Carillon."


async def chunks(target: Target, stream: ProbeStream) -> Verdict:
    """Whether each event arrives before the next one is published."""
    slowest = 0.0
    for number in range(1, EVENTS + 1):
        data = f"chunk {number} {secrets.token_hex(4)}"
        started_at = time.monotonic()
        response = await target.publish(data)
        if not response.is_success:
            text = f"Publishing was answered {response.status_code} after {number - 1} events."
            return fault("chunks", text, "see /health/publish, and the log of the origin.")
        try:
            await stream.event(data)
        except StreamTimeout:
            text = (
                f"Event {number} of {EVENTS} was kept, and did not arrive in {target.timeout:g} s: "
                "a proxy holds the stream back."
            )
            return fault("chunks", text, STOP_BUFFERING)
        except StreamEnded as end:
            cure = "see the log of the proxy: has it a limit on the time or size of responses?"
            return fault("chunks", f"The stream ended at event {number}: {end}.", cure)
        slowest = max(slowest, time.monotonic() - started_at)
    return ok("chunks", f"{EVENTS} events came as they were sent, the slowest in {_ms(slowest)}")


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


async def resume(target: Target, opening: ServerSentEvent, *, publishes: bool) -> Verdict:
    """Whether a second stream, with the first one's cursor, has what was published since."""
    cure = "let the request header Last-Event-ID through, and cache nothing on this path."
    missed = "missed"
    if publishes:
        await target.publish(missed)
    try:
        async with target.open(cursor=opening.id) as stream:
            first = await stream.next()
            if first.type == "stream.reset":
                text = f"The cursor was refused: {first.data}"
                return fault("resume", text, "several logs? All processes need one Redis.")
            if first.id != opening.id:
                text = "The stream went on from another position: the cursor did not arrive."
                return fault("resume", text, cure)
            if not publishes:
                return ok("resume", "the cursor arrives (testing missed events needs a key)")
            await stream.event(missed)
    except StreamTimeout:
        text = "An event that was published meanwhile did not come."
        return fault("resume", text, f"{cure} {STOP_BUFFERING}")
    except (StreamEnded, httpx.HTTPError) as end:
        return fault("resume", f"The second stream failed: {end}", cure)
    return ok("resume", "a missed event came, after the cursor that was brought back")


async def disconnect(target: Target, stream: ProbeStream) -> Verdict:
    """Whether the origin notices that a client has left: it publishes an event about that."""
    cure = (
        "nginx: proxy_ignore_client_abort off (its default); a CDN: no shielding or caching here. "
        "An origin that does not notice keeps streams that nobody reads."
    )
    try:
        async with target.open(end_notice=target.topic) as second_stream:
            status = second_stream.response.status_code
            if status != 200:
                why = f"The origin does not announce ended streams ({status})."
                return untested("disconnect", why, GIVE_KEY)
            await second_stream.next()
        left_at = time.monotonic()
        while True:
            event = await stream.next()
            if event.type == "left":
                seconds = time.monotonic() - left_at
                return ok("disconnect", f"the origin noticed after {_ms(seconds)}")
    except StreamTimeout:
        text = f"A client left, and the origin has not noticed in {target.timeout:g} s."
        return fault("disconnect", text, cure)
    except (StreamEnded, httpx.HTTPError) as end:
        return fault("disconnect", f"The stream that waits for the notice failed: {end}", cure)


async def idle(stream: ProbeStream, seconds: float) -> Verdict:
    """Whether a stream with nothing but keep-alives stays open for that long."""
    started_at = last_at = time.monotonic()
    longest_silence = 0.0
    while (remaining := started_at + seconds - time.monotonic()) > 0:
        try:
            await stream.next(within=remaining)
        except StreamTimeout:
            break
        except StreamEnded as end:
            ended_at = time.monotonic()
            return fault(
                "idle",
                f"{end} after {ended_at - started_at:.0f} s, {ended_at - last_at:.0f} s after its "
                "last block.",
                "raise the idle time-out of the proxies above 30 s (nginx: "
                "proxy_read_timeout; HAProxy: timeout client and server), or lower "
                "CARILLON_KEEPALIVE below it; if keep-alives came, the limit is on the whole "
                "response: raise that, or accept that browsers reconnect.",
            )
        longest_silence = max(longest_silence, time.monotonic() - last_at)
        last_at = time.monotonic()
    longest_silence = max(longest_silence, time.monotonic() - last_at)
    return ok("idle", f"open for {seconds:g} s; the longest silence was {longest_silence:.0f} s")

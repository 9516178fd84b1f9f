"""Verdicts that need events or time: whether events arrive at once, and whether a stream lasts."""

import secrets
import time

import httpx

from notifications.management.doctor.connection import GIVE_KEY
from notifications.management.doctor.proxies import Subject, cure
from notifications.management.doctor.target import ProbeStream, StreamEnded, StreamTimeout, Target
from notifications.management.doctor.verdicts import Verdict, advice, fault, ok, untested
from notifications.sse import ServerSentEvent

EVENTS = 5
AT_ONCE_SECONDS = 2.0
"""Time for a proxy and an origin far away to notice that a client left."""
WRITE_SECONDS = 1.0
"""Time for the client's machine to refuse what is written to it."""
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
            return fault("chunks", text, await cure(target, Subject.BUFFERING))
        except StreamEnded as end:
            limits = "see the log of the proxy: has it a limit on the time or size of responses?"
            return fault("chunks", f"The stream ended at event {number}: {end}.", limits)
        slowest = max(slowest, time.monotonic() - started_at)
    return ok("chunks", f"{EVENTS} events came as they were sent, the slowest in {_ms(slowest)}")


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


async def resume(target: Target, opening: ServerSentEvent, *, publishes: bool) -> Verdict:
    """Whether a second stream, with the first one's cursor, has what was published since."""
    let_through = "let the request header Last-Event-ID through, and cache nothing on this path."
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
                return fault("resume", text, let_through)
            if not publishes:
                return ok("resume", "the cursor arrives (testing missed events needs a key)")
            await stream.event(missed)
    except StreamTimeout:
        text = "An event that was published meanwhile did not come."
        return fault("resume", text, f"{let_through} {await cure(target, Subject.BUFFERING)}")
    except (StreamEnded, httpx.HTTPError) as end:
        return fault("resume", f"The second stream failed: {end}", let_through)
    return ok("resume", "a missed event came, after the cursor that was brought back")


async def disconnect(target: Target, stream: ProbeStream) -> Verdict:
    """Whether the origin notices that a client has left: it publishes an event about that.

    Some proxies tell the origin only when a write to the client has failed, at the second write
    after. In a quiet stream that is the second keep-alive; here it is an event.
    """
    try:
        async with target.open(end_notice=target.topic) as second_stream:
            status = second_stream.response.status_code
            if status != 200:
                why = f"The origin does not announce ended streams ({status})."
                return untested("disconnect", why, GIVE_KEY)
            await second_stream.next()
        left_at = time.monotonic()
        if await _has_left(stream, within=min(AT_ONCE_SECONDS, target.timeout)):
            seconds = time.monotonic() - left_at
            return ok("disconnect", f"the origin noticed after {_ms(seconds)}")
        for write, seconds in (("first", WRITE_SECONDS), ("second", target.timeout)):
            await target.publish(f"{write} write")
            if await _has_left(stream, within=seconds):
                text = (
                    f"The origin notices a client that left only at the {write} write after: in a "
                    "quiet stream, a keep-alive. Until then the stream counts as open."
                )
                return advice("disconnect", text, await cure(target, Subject.DISCONNECT))
    except (StreamTimeout, StreamEnded, httpx.HTTPError) as end:
        text = f"A stream failed meanwhile: {type(end).__name__} {end}"
        return fault("disconnect", text, "see the log of the proxy, and of the origin.")
    text = f"A client left, two events followed, and the origin has not noticed in {seconds:g} s."
    return fault(
        "disconnect",
        text,
        "an origin that does not notice keeps streams that nobody reads. "
        + await cure(target, Subject.DISCONNECT),
    )


async def _has_left(stream: ProbeStream, *, within: float) -> bool:
    """Whether the notice about the other stream comes within these seconds."""
    deadline = time.monotonic() + within
    try:
        while (await stream.next(within=max(0.0, deadline - time.monotonic()))).type != "left":
            pass
    except StreamTimeout:
        return False
    return True


async def idle(target: Target, stream: ProbeStream, seconds: float) -> Verdict:
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
                "raise the idle time-out of the proxies above 30 s, or lower CARILLON_KEEPALIVE "
                "below it; if keep-alives came, the limit is on the whole response: raise that, or "
                f"accept that browsers reconnect. {await cure(target, Subject.IDLE)}",
            )
        longest_silence = max(longest_silence, time.monotonic() - last_at)
        last_at = time.monotonic()
    longest_silence = max(longest_silence, time.monotonic() - last_at)
    return ok("idle", f"open for {seconds:g} s; the longest silence was {longest_silence:.0f} s")

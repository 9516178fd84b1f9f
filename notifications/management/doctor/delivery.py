"""What can be told only by sending something: whether it comes at once, and what is left of it."""

import secrets
import time

import httpx

from notifications.management.doctor.connection import UNBUFFERED, WHO
from notifications.management.doctor.target import Ended, Listener, Patient, Silence
from notifications.management.doctor.verdicts import Verdict, fault, ok, untested
from notifications.sse import ServerSentEvent

EVENTS = 5
WITHOUT_KEY = "Not without a key to publish with."


async def publishing(patient: Patient) -> Verdict | None:
    """None where it works."""
    if patient.key is None:
        return untested("chunks", WITHOUT_KEY, WHO)
    try:
        answer = await patient.publish("may I?")
    except httpx.HTTPError as error:
        text = f"{patient.publish_url} cannot be reached ({type(error).__name__})."
        return fault("publishing", text, "let the proxy pass it to Carillon too.")
    if answer.is_success:
        return None
    text = f"{patient.publish_url} answers {answer.status_code}: {_detail(answer)}"
    return fault("publishing", text, WHO)


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return "not by Carillon."


async def chunks(patient: Patient, listener: Listener) -> Verdict:
    """Each event has to be here before the next one is sent."""
    slowest = 0.0
    for number in range(1, EVENTS + 1):
        data = f"chunk {number} {secrets.token_hex(4)}"
        began = time.monotonic()
        answer = await patient.publish(data)
        if not answer.is_success:
            text = f"Publishing was answered {answer.status_code} after {number - 1} events."
            return fault("chunks", text, "see /health/publish, and the log of the origin.")
        try:
            await listener.event(data)
        except Silence:
            text = (
                f"Event {number} of {EVENTS} was kept, and did not come in {patient.patience:g} s"
            )
            return fault("chunks", f"{text}: something holds the stream back.", UNBUFFERED)
        except Ended as end:
            cure = "see the log of the proxy: a limit on the time or size of answers?"
            return fault("chunks", f"The stream ended at event {number}: {end}.", cure)
        slowest = max(slowest, time.monotonic() - began)
    return ok("chunks", f"{EVENTS} events came as they were sent, the slowest in {_ms(slowest)}")


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


async def resuming(patient: Patient, opening: ServerSentEvent, *, publishes: bool) -> Verdict:
    """A stream from where the first one began has what was published since."""
    cure = "let the request header Last-Event-ID through, and cache nothing on this path."
    expected = "missed"
    if publishes:
        await patient.publish(expected)
    try:
        async with patient.open(cursor=opening.id) as listener:
            first = await listener.next()
            if first.type == "stream.reset":
                text = f"The cursor was refused: {first.data}"
                return fault("resume", text, "several logs? All processes need one Redis.")
            if first.id != opening.id:
                text = "The stream went on from elsewhere: the cursor did not arrive."
                return fault("resume", text, cure)
            if not publishes:
                return ok("resume", "the cursor arrives (what was missed takes a key)")
            await listener.event(expected)
    except Silence:
        return fault("resume", "What was published meanwhile did not come.", f"{cure} {UNBUFFERED}")
    except (Ended, httpx.HTTPError) as end:
        return fault("resume", f"The second stream failed: {end}", cure)
    return ok("resume", "what was missed came, after the cursor that was brought back")


async def leaving(patient: Patient, listener: Listener) -> Verdict:
    """The origin says on another stream that it saw the first one end."""
    cure = (
        "nginx: proxy_ignore_client_abort off (its default); a CDN: no shielding or caching here. "
        "An origin that is not told keeps streams that nobody hears."
    )
    try:
        async with patient.open(end_notice=patient.topic) as leaver:
            if leaver.response.status_code != 200:
                why = f"The origin does not bear witness ({leaver.response.status_code})."
                return untested("disconnect", why, WHO)
            await leaver.next()
        began = time.monotonic()
        while True:
            said = await listener.next()
            if said.type == "left":
                return ok("disconnect", f"the origin noticed after {_ms(time.monotonic() - began)}")
    except Silence:
        text = f"A client left, and the origin has not noticed in {patient.patience:g} s."
        return fault("disconnect", text, cure)
    except (Ended, httpx.HTTPError) as end:
        return fault("disconnect", f"The stream that listens failed: {end}", cure)


async def idling(listener: Listener, seconds: float) -> Verdict:
    """Nothing but keep-alives, for as long as asked."""
    began = time.monotonic()
    heard = began
    longest = 0.0
    while (left := began + seconds - time.monotonic()) > 0:
        try:
            await listener.next(within=left)
        except Silence:
            break
        except Ended as end:
            after, quiet = time.monotonic() - began, time.monotonic() - heard
            return fault(
                "idle",
                f"{end} after {after:.0f} s, {quiet:.0f} s after it last said something.",
                "raise the idle time-out of what stands in front above 30 s (nginx: "
                "proxy_read_timeout; HAProxy: timeout client and server), or lower "
                "CARILLON_KEEPALIVE below it; if keep-alives came, it is a limit on the whole "
                "answer: raise that, or live with browsers that come back.",
            )
        longest = max(longest, time.monotonic() - heard)
        heard = time.monotonic()
    longest = max(longest, time.monotonic() - heard)
    return ok("idle", f"open for {seconds:g} s; the longest silence was {longest:.0f} s")

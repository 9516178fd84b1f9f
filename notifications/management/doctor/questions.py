"""The questions in their order, and when it is no use to ask on."""

from collections.abc import AsyncGenerator

import httpx

from notifications.management.doctor import connection, delivery
from notifications.management.doctor.target import Listener, Patient, Silence
from notifications.management.doctor.verdicts import Verdict, fault, ok, untested
from notifications.sse import ServerSentEvent


async def examine(
    patient: Patient, *, origin: str | None = None, idle: float = 0
) -> AsyncGenerator[Verdict]:
    try:
        async with patient.open() as listener:
            if wrong := connection.status(listener):
                yield wrong
                return
            yield ok("reach", f"{patient.events_url} streams")
            yield connection.version(patient, listener)
            yield await connection.compression(patient)
            begins, first = await connection.beginning(listener)
            yield begins
            if first is None:
                why = "Not where nothing arrives."
                for name in ("chunks", "resume", "disconnect"):
                    yield untested(name, why)
            else:
                async for verdict in _carried(patient, listener, first):
                    yield verdict
            yield await connection.cors(patient, origin)
            if idle and first is not None:
                yield await delivery.idling(listener, idle)
            elif not idle:
                yield untested("idle", "For how long?", "--idle 120, in seconds")
    except Silence:
        yield await _no_answer(patient)
    except httpx.HTTPError as error:
        text = f"{patient.events_url}: {type(error).__name__}: {error}"
        yield fault("reach", text, "is the address right, the name known, the certificate valid?")


async def _carried(
    patient: Patient, listener: Listener, first: ServerSentEvent
) -> AsyncGenerator[Verdict]:
    refused = await delivery.publishing(patient)
    if refused is not None:
        yield refused
    else:
        yield await delivery.chunks(patient, listener)
    try:
        yield await delivery.resuming(patient, first, publishes=refused is None)
        if refused is not None:
            yield untested("disconnect", delivery.WITHOUT_KEY, connection.WHO)
        else:
            yield await delivery.leaving(patient, listener)
    except httpx.HTTPError as error:
        yield fault("publishing", f"It failed once: {type(error).__name__}", "ask again.")


async def _no_answer(patient: Patient) -> Verdict:
    """Not even a status came: is nobody there, or is it held back with what follows it?"""
    try:
        head = await patient.ask("HEAD")
    except (TimeoutError, httpx.HTTPError):
        text = f"No answer from {patient.events_url} in {patient.patience:g} s."
        return fault("reach", text, "see to the origin: /health/live, and its log.")
    text = (
        f"A HEAD is answered ({head.status_code}), and a stream is not in {patient.patience:g} s: "
        "something waits for its end."
    )
    return fault("first byte", text, connection.UNBUFFERED)

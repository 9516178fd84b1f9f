"""What became of a notification, step by step: why somebody did not get it, or how they did."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from notifications.conf import namespace as namespaces
from notifications.errors import Unavailable
from notifications.hub.grants import user_subject
from notifications.hub.questions import Answers, ask
from notifications.inbox.delivery.states import DeliveryState
from notifications.inbox.models import Delivery, Notification
from notifications.inbox.preferences.times import aware
from notifications.inbox.states import State
from notifications.publishing.outbox.table import backlog


class Step(NamedTuple):
    """`at` is None for what has no time: that something has not happened, say."""

    at: datetime | None
    text: str


STATES = (
    *(("seen_at", "Seen."), ("read_at", "Read."), ("archived_at", "Archived.")),
    *(("withdrawn_at", "Withdrawn."), ("expired_at", "Expired.")),
)


def explain(notification: Notification, *, using: str) -> list[Step]:
    """All that is known of a notification: what happened, the oldest first, and what did not.

    Asks every process for the person's streams, and so blocks the thread for a moment.
    """
    steps = [
        Step(notification.created_at, f"Written, as {notification.kind}."),
        *_publication(notification, using),
        *_streams(notification),
        *(Step(at, text) for name, text in STATES if (at := getattr(notification, name))),
        *_deliveries(notification, using),
    ]
    happened = [(aware(step.at), step.text) for step in steps if step.at is not None]
    ordered = sorted(happened, key=lambda step: step[0])
    return [*(Step(*step) for step in ordered), *(step for step in steps if step.at is None)]


def _publication(notification: Notification, using: str) -> Iterable[Step]:
    if notification.pending:
        relay = "a relay works on it" if backlog(using).relayed else "no relay works on it"
        yield Step(None, f"Not published yet: it waits in the outbox, and {relay}.")
    else:
        yield Step(None, f"Published, as number {notification.number} of this database.")
    if notification.state == State.MUTED:
        yield Step(None, "In no list: the person wants none of this category in the inbox.")


# The person's streams at that time


def _streams(notification: Notification) -> Iterable[Step]:
    subject = namespaces.log_subjects(
        namespaces.current(), [user_subject(notification.recipient_id)]
    )
    try:
        answers = ask(*subject)
    except Unavailable as error:
        yield Step(None, f"Which streams were open then is not known: {error.detail}")
        return
    written = aware(notification.created_at).timestamp()
    found = [stream for report in answers.reports for stream in report["found"]]
    then = [stream for stream in found if _was_open(stream, written)]
    later = [stream for stream in found if stream["opened"] > written]
    yield from map(_stream, [*then, *later])
    if not then:
        yield Step(None, _unknown(answers, written))


def _was_open(stream: dict[str, Any], moment: float) -> bool:
    return stream["opened"] <= moment and (stream["ended"] is None or stream["ended"] >= moment)


def _stream(stream: dict[str, Any]) -> Step:
    end = ""
    if stream["ended"] is not None:
        end = f", and closed {_moment(stream['ended']):%Y-%m-%d %H:%M:%S} UTC: {stream['reason']}"
    return Step(_moment(stream["opened"]), f"A stream of the person's opened{end}.")


def _unknown(answers: Answers, written: float) -> str:
    """What can be said where no process remembers a stream that was open at that time."""
    text = "No process remembers a stream of the person's that was open when it was written"
    if any(report["started"] > written for report in answers.reports) or not answers.reports:
        return f"{text}, but processes that have started since cannot know."
    return f"{text}."


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# Elsewhere


def _deliveries(notification: Notification, using: str) -> Iterable[Step]:
    found = Delivery.objects.using(using).filter(notification=notification).order_by("created_at")
    for delivery in found:
        yield _delivery(delivery)
        if delivery.closed_at is not None:
            yield Step(delivery.closed_at, f"{delivery.channel}: closed on the devices.")
    if not found:
        yield Step(None, "To be sent by no other channel.")


def _delivery(delivery: Delivery) -> Step:
    reason = ": ".join(filter(None, (delivery.reason, delivery.detail)))
    why = f" ({reason})" if reason else ""
    match DeliveryState(delivery.state):
        case DeliveryState.WAITING:
            text = f"due {delivery.due_at:%Y-%m-%d %H:%M:%S %Z}, after {delivery.attempts} attempts"
        case DeliveryState.IN_DIGEST:
            text = "waits for a digest"
        case DeliveryState.SENT:
            text = "sent"
        case DeliveryState.SUPPRESSED:
            text = "suppressed"
        case DeliveryState.CLOSING:
            text = "sent, and to be closed on the devices"
        case DeliveryState.CLOSED:
            text = "sent"
        case DeliveryState.FAILED:
            text = f"failed after {delivery.attempts} attempts"
    return Step(delivery.ended_at, f"{delivery.channel}: {text}{why}.")

"""A fake clock, a mail server that keeps what it gets, and the state of all deliveries."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.db import connections

from notifications.inbox.delivery.states import DeliveryState
from notifications.inbox.models import Delivery

START = datetime(2026, 11, 29, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Clock:
    """The time of `notify` and of what sends, in which nothing passes by itself."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, duration: timedelta) -> None:
        self.now += duration


class Backend:
    """Keeps what is sent in `mail.outbox`. `fault` is called before, and may raise."""

    fault: Callable[[EmailMultiAlternatives], None] | None = None
    opened = closed = 0

    def open(self) -> None:
        Backend.opened += 1

    def close(self) -> None:
        Backend.closed += 1

    def send_messages(self, messages: Any) -> int:
        assert not any(connection.in_atomic_block for connection in connections.all())
        for message in messages:
            if Backend.fault is not None:
                Backend.fault(message)
            mail.outbox.append(message)
        return len(messages)


def sent() -> list[tuple[list[str], str]]:
    return [(message.to, str(message.subject)) for message in mail.outbox]


def reasons() -> list[tuple[str, str]]:
    rows = Delivery.objects.order_by("created_at", "recipient__username")
    return [(DeliveryState(row.state).name.lower(), row.reason) for row in rows]

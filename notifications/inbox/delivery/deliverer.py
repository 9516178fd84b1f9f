"""Sends what is due, each delivery at least once: again only after a crash or an unknown answer."""

import time
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections
from django.utils import timezone

from notifications.conf import get_settings
from notifications.inbox.channels import Channel
from notifications.inbox.delivery import digests, table
from notifications.inbox.delivery.closing import close_if_seen, to_close
from notifications.inbox.delivery.digests import DigestContent
from notifications.inbox.delivery.looking import Looked, look
from notifications.inbox.delivery.senders import (
    Away,
    Message,
    NoText,
    Refused,
    Sender,
    TryLater,
    Unreachable,
    sender_of,
)
from notifications.inbox.delivery.states import Delivered, DeliveryState, Outcome, Reason
from notifications.inbox.delivery.verdict import Gather, Postpone, Send, Suppress
from notifications.inbox.preferences.times import aware
from notifications.inbox.table import database
from notifications.telemetry.logs import logger

if TYPE_CHECKING:
    from notifications.inbox.models import Delivery, Notification

BATCH_ROWS = 50
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=6)
"""Between two attempts of one delivery; each pause is twice as long as the one before."""
MAX_ATTEMPTS = 30
"""About five days."""


class Deliverer:
    """Leases rows of some channels and sends them, one after the other, in one thread."""

    def __init__(
        self,
        using: str,
        *,
        lease_seconds: float,
        channels: Collection[Channel] = tuple(Channel),
        clock: Callable[[], datetime] = timezone.now,
    ) -> None:
        self._using = using
        self._channels = channels
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._holder = uuid.uuid4().hex
        self._senders: dict[Channel, Sender | None] = {}
        self._renewed_at = 0.0
        self.done = Delivered()
        self.is_stopping = False

    def deliver_some(self) -> bool:
        """Deliver a batch of what is due, and return whether there was any.

        Raises `Away`, `ImproperlyConfigured` and what the database raises; what is not delivered
        then is free for others.
        """
        self._renewed_at = time.monotonic()
        rows = table.lease(
            self._using,
            self._now(),
            channels=self._channels,
            holder=self._holder,
            seconds=self._lease_seconds,
            count=BATCH_ROWS,
        )
        left = list(rows)
        try:
            while (left := self._still_leased(left)) and not self.is_stopping:
                self._deliver(left[0])
                del left[0]
        finally:
            with suppress(DatabaseError):  # then the lease ends by itself
                table.release(left, self._using, holder=self._holder)
            self.close()
        return bool(rows)

    def close(self) -> None:
        for sender in self._senders.values():
            if sender is not None:
                sender.close()

    def _now(self) -> datetime:
        return aware(self._clock())

    def _still_leased(self, left: "list[Delivery]") -> "list[Delivery]":
        """Those of these rows that nobody else has. Half of a lease is enough for the first."""
        if time.monotonic() < self._renewed_at + self._lease_seconds / 2:
            return left
        self._renewed_at = time.monotonic()
        return [
            row
            for row in left
            if table.renew(row, self._using, holder=self._holder, seconds=self._lease_seconds)
        ]

    def _sender(self, channel: Channel) -> Sender | None:
        if channel not in self._senders:
            self._senders[channel] = sender_of(channel)
        return self._senders[channel]

    def _deliver(self, row: "Delivery") -> None:
        sender = self._sender(Channel(row.channel))
        if row.state == DeliveryState.CLOSING:
            return self._close(row, sender)
        if sender is None:  # a site that no longer has this channel
            return self._end(row, DeliveryState.SUPPRESSED, Reason.NOT_ASKED)
        if row.notification_id is None:
            return self._deliver_digest(row, sender)
        looked = look(row, sender, self._using, self._now())
        if looked is None:
            return table.delete_of([row.notification_id], self._using)
        match looked.verdict:
            case Suppress(reason) if not row.reached:
                self._end(row, DeliveryState.SUPPRESSED, reason, looked.detail)
            case Suppress():  # an earlier attempt has reached some of the addresses
                self._end(row, DeliveryState.SENT)
                close_if_seen(row, self._using)
            case Postpone(until, reason):
                self._postpone(row, until, reason)
            case Gather(digest_at):
                digests.gather(row, digest_at, self._using, looked.times)
                self.done.postponed += 1
            case Send():
                self._send(row, sender, [looked], None)
        return None

    def _deliver_digest(self, row: "Delivery", sender: Sender) -> None:
        content = digests.read(row, sender, self._using, self._now())
        if content.quiet_until is not None:
            self._postpone(row, content.quiet_until, Reason.QUIET_HOURS)
        elif content.entries:
            self._send(row, sender, content.entries, content)
        else:
            self._end(row, DeliveryState.SUPPRESSED, Reason.NOTHING_NEW, content=content)

    def _send(
        self,
        row: "Delivery",
        sender: Sender,
        entries: Sequence[Looked],
        content: DigestContent | None,
    ) -> None:
        notifications = [each.notification for each in entries]
        message = self._message(row, notifications, entries[0].times.zone)
        try:
            sender.send(message)
        except (Away, ImproperlyConfigured):
            raise
        except Refused as error:
            reason = Reason.NO_TEXT if isinstance(error, NoText) else Reason.REFUSED
            self._end(row, DeliveryState.FAILED, reason, str(error), content=content)
        except Unreachable:
            self._end(row, DeliveryState.SUPPRESSED, Reason.NO_ADDRESS, content=content)
        except Exception as error:  # noqa: BLE001 - whatever a backend or a template raises
            self._try_again(row, error, content)
        else:
            self._end(row, DeliveryState.SENT, content=content)
            close_if_seen(row, self._using)

    def _message(
        self, row: "Delivery", notifications: "Sequence[Notification]", zone: tzinfo
    ) -> Message:
        return Message(
            id=row.pk,
            recipient=notifications[0].recipient,
            notifications=notifications,
            is_digest=row.notification_id is None,
            zone=zone,
            using=self._using,
            reached=row.reached,
        )

    def _close(self, row: "Delivery", sender: Sender | None) -> None:
        """Close all of the person's at once: browsers allow few messages that show nothing."""
        over = to_close(row.recipient_id, self._using)
        messages = [self._message(each, [notification], UTC) for each, notification in over]
        has_disappeared, fault = False, None
        try:
            has_disappeared = sender is not None and sender.take_back(messages)
        except (Away, ImproperlyConfigured):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a server does
            fault = error
        closed = [each for each, _ in over if fault is None or not each.reached]
        now = self._now() if has_disappeared or fault else None
        table.end_closing(closed, self._using, DeliveryState.CLOSED, now)
        self.done.closed += len(closed)
        for each, _ in over:
            if fault is not None and each not in closed:
                self._try_again(each, fault, None)

    def _try_again(self, row: "Delivery", error: Exception, content: DigestContent | None) -> None:
        detail = str(error) or repr(error)
        if row.attempts + 1 >= MAX_ATTEMPTS:
            state = DeliveryState.SENT if row.reached else DeliveryState.FAILED
            return self._end(row, state, Reason.GAVE_UP, detail, content=content)
        asked_for = error.pause if isinstance(error, TryLater) else timedelta()
        pause = min(max(FIRST_PAUSE * 2**row.attempts, asked_for), LONGEST_PAUSE)
        logger.warning("delivery.try_again", delivery=row.pk.hex, error=detail, pause=str(pause))
        row.attempts += 1
        self._postpone(row, self._now() + pause, Reason.TRY_AGAIN, detail)
        if row.reached:
            close_if_seen(row, self._using)
        return None

    def _postpone(self, row: "Delivery", until: datetime, reason: Reason, detail: str = "") -> None:
        table.postpone(row, self._using, until=until, reason=reason, detail=detail)
        self.done.postponed += 1

    def _end(
        self,
        row: "Delivery",
        state: DeliveryState,
        reason: Reason | None = None,
        detail: str = "",
        *,
        content: DigestContent | None = None,
    ) -> None:
        outcome = Outcome(state, reason, detail, self._now())
        # It has happened: who does not note it would do it once more.
        for is_last in (False, False, True):
            try:
                if content is None:
                    table.end(row, self._using, outcome)
                else:
                    digests.end(row, content, self._using, outcome)
                break
            except DatabaseError:
                if is_last:
                    raise
                connections[self._using].close()
        match state:
            case DeliveryState.SENT:
                self.done.sent += 1
            case DeliveryState.SUPPRESSED:
                self.done.suppressed += 1
            case _:
                self.done.failed += 1
                logger.error(
                    "delivery.failed",
                    delivery=row.pk.hex,
                    error=detail,
                    reason=reason,
                    hint="see 'carillon relay --status'",
                )


def send_due(*, using: str | None = None, now: datetime | None = None) -> Delivered:
    """Send all that is due, and return what became of it. For a timer: a task, or Celery's beat.

    Any number may run at once. Call it outside of transactions. Raises `Away` if a channel can send
    nothing now, and `ImproperlyConfigured`, both after what the other channels have sent; and what
    the database raises. Then run it again.
    """
    done, faults = Delivered(), list[Exception]()
    for channel in Channel:
        deliverer = Deliverer(
            using or database(),
            lease_seconds=get_settings().INBOX_DELIVERY_LEASE,
            channels=[channel],
            clock=timezone.now if now is None else lambda: now,
        )
        try:
            while deliverer.deliver_some():
                pass
        except (Away, ImproperlyConfigured) as error:
            faults.append(error)
        done += deliverer.done
    if faults:
        raise faults[0]
    return done

"""Digests: one e-mail a day or a week about all that is still unseen, and about nothing twice."""

import threading
from datetime import UTC, datetime, time, timedelta

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.db import connections
from django.utils import timezone

from notifications import notify
from notifications.inbox import Delivered, mark, send_due
from notifications.inbox.delivery import digests
from notifications.inbox.delivery.states import DeliveryState
from notifications.inbox.delivery.verdict import Times
from notifications.inbox.models import Delivery, Notification, Schedule
from notifications.inbox.retention import erase, tidy
from tests.unit.inbox.inboxes import Inboxes
from tests.unit.inbox.mailing import DAY, HOUR, MINUTE, START, Backend, Clock, reasons, sent

pytestmark = pytest.mark.usefixtures("mailing")
DEADLINE_SECONDS = 60.0
TOMORROW_AT_8 = datetime(2026, 11, 30, 8, tzinfo=UTC)


@pytest.fixture(autouse=True)
def daily(inboxes: Inboxes) -> Schedule:
    """Ada wants one a day, at eight."""
    return Schedule.objects.create(recipient=inboxes.ada, digest="daily", digest_at=time(8))


def test_a_digest_has_all_that_is_unseen_and_nothing_else(inboxes: Inboxes, clock: Clock) -> None:
    for number in range(3):
        notify(inboxes.ada, "order.paid", {"n": number}, url=f"/orders/{number}/")
        notify(inboxes.bob, "order.paid", {"n": number})
        clock.pass_by(MINUTE)
    inboxes.relay()
    clock.pass_by(HOUR)
    assert send_due() == Delivered(sent=3, postponed=3)
    assert {address for [address], _ in sent()} == {"bob@example.com"}
    mark(inboxes.ada, "read", ids=inboxes.ids(inboxes.ada)[1:2])
    mail.outbox.clear()
    clock.now = TOMORROW_AT_8 - MINUTE
    assert send_due() == Delivered()
    clock.now = TOMORROW_AT_8
    assert send_due() == Delivered(sent=1)
    assert send_due() == Delivered()
    [message] = mail.outbox
    assert isinstance(message, EmailMultiAlternatives)
    assert message.to == ["ada@example.com"]
    assert message.subject == "2 notifications that you have not seen"
    newest, oldest = (str(message.body).index(f"/orders/{number}/") for number in (2, 0))
    assert newest < oldest
    assert "Paid 1" not in str(message.body)
    assert 'href="https://shop.example/orders/2/"' in str(message.alternatives[0][0])
    digest = Delivery.objects.get(notification=None)
    assert message.extra_headers["Message-ID"] == f"<{digest.pk.hex}@shop.example>"
    parts = Delivery.objects.filter(digest=digest.pk).order_by("created_at")
    assert [(row.state, row.reason) for row in parts] == [
        (DeliveryState.SENT, ""),
        (DeliveryState.SUPPRESSED, "read"),
        (DeliveryState.SENT, ""),
    ]


def test_once_a_week_is_on_the_day_that_is_chosen(
    inboxes: Inboxes, clock: Clock, daily: Schedule
) -> None:
    daily.digest, daily.digest_weekday, daily.time_zone = "weekly", 3, "America/New_York"
    daily.save()
    notify(inboxes.ada, "order.paid")
    clock.pass_by(HOUR)
    send_due()
    wednesday = datetime(2026, 12, 2, 13, tzinfo=UTC)
    assert Delivery.objects.get(notification=None).due_at == wednesday


def test_nothing_new_is_no_message(inboxes: Inboxes, clock: Clock) -> None:
    notify(inboxes.ada, "order.paid")
    inboxes.relay()
    clock.pass_by(HOUR)
    send_due()
    mark(inboxes.ada, "seen", ids=inboxes.ids(inboxes.ada))
    clock.now = TOMORROW_AT_8
    assert send_due() == Delivered(suppressed=1)
    assert mail.outbox == []
    assert sorted(reasons()) == [("suppressed", "nothing-new"), ("suppressed", "seen")]


def test_what_was_deleted_meanwhile_is_left_out_and_forgotten(
    inboxes: Inboxes, clock: Clock
) -> None:
    for number in range(2):
        notify(inboxes.ada, "order.paid", {"n": number})
        clock.pass_by(MINUTE)
    clock.pass_by(HOUR)
    send_due()
    Notification.objects.order_by("created_at")[0].delete()
    clock.now = TOMORROW_AT_8
    assert send_due() == Delivered(sent=1)
    assert sent() == [(["ada@example.com"], "1 notification that you have not seen")]
    assert Delivery.objects.count() == 2
    assert erase(inboxes.ada, using=inboxes.alias) == 1
    assert Delivery.objects.get().notification_id is None


def test_one_that_is_replaced_is_in_the_digest_once_and_as_it_is_now(
    inboxes: Inboxes, clock: Clock
) -> None:
    for number in range(3):
        notify(inboxes.ada, "order.paid", {"n": number}, replaces="order")
        clock.pass_by(HOUR)
    # The one before was gathered too: what it is about is decided when the digest is sent.
    Delivery.objects.update(due_at=clock.now)
    rows = list(Delivery.objects.all())
    times = Times.of(Schedule.objects.get())
    for row in rows:
        digests.gather(row, TOMORROW_AT_8, inboxes.alias, times)
    clock.now = TOMORROW_AT_8
    assert send_due() == Delivered(sent=1)
    assert "Paid 2" in str(mail.outbox[0].body)
    assert sorted(reasons()) == [
        *[("sent", "")] * 2,
        *[("suppressed", "replaced")] * 2,
    ]


def test_what_is_urgent_is_in_no_digest(inboxes: Inboxes, clock: Clock) -> None:
    notify(inboxes.ada, "alarm")
    clock.pass_by(HOUR)
    assert send_due() == Delivered(sent=1)


def test_a_digest_waits_for_the_end_of_quiet_hours(
    inboxes: Inboxes, clock: Clock, daily: Schedule
) -> None:
    daily.quiet_from, daily.quiet_until = time(22), time(9)
    daily.save()
    notify(inboxes.ada, "order.paid")
    clock.pass_by(HOUR)
    send_due()
    clock.now = TOMORROW_AT_8
    assert send_due() == Delivered(postponed=1)
    clock.pass_by(HOUR)
    assert send_due() == Delivered(sent=1)


def test_what_comes_while_a_digest_is_sent_is_in_the_next_one(
    inboxes: Inboxes, clock: Clock
) -> None:
    """As by another deliverer, whose clock is behind."""
    notify(inboxes.ada, "order.paid", {"n": 1})
    clock.pass_by(HOUR)
    send_due()
    clock.now = TOMORROW_AT_8

    def gather_another(_: object) -> None:
        Backend.fault = None
        notify(inboxes.ada, "order.paid", {"n": 2})
        row = Delivery.objects.exclude(notification=None).get(state=DeliveryState.WAITING)
        digests.gather(row, TOMORROW_AT_8, inboxes.alias, Times.of(Schedule.objects.get()))

    Backend.fault = gather_another
    assert send_due() == Delivered(sent=1, postponed=1)
    [message] = mail.outbox
    assert "Paid 2" not in str(message.body)
    clock.pass_by(DAY)
    assert send_due() == Delivered(sent=1)
    assert "Paid 2" in str(mail.outbox[1].body)


def test_a_digest_that_is_closed_takes_nothing_in(inboxes: Inboxes, clock: Clock) -> None:
    notify([inboxes.ada], "order.paid", {"n": 1})
    clock.pass_by(HOUR)
    send_due()
    clock.now = TOMORROW_AT_8
    send_due()
    notify(inboxes.ada, "order.paid", {"n": 2})
    row = Delivery.objects.get(state=DeliveryState.WAITING)
    times = Times.of(Schedule.objects.get())
    digests.gather(row, TOMORROW_AT_8, inboxes.alias, times)
    row.refresh_from_db()
    [next_one] = Delivery.objects.filter(notification=None, state=DeliveryState.WAITING)
    assert (next_one.pk, next_one.digest_at) == (row.digest, TOMORROW_AT_8 + DAY)


def test_two_that_gather_at_the_same_time_make_one_digest(inboxes: Inboxes, clock: Clock) -> None:
    for number in range(8):
        notify(inboxes.ada, "order.paid", {"n": number})
    clock.pass_by(HOUR)
    start, faults = threading.Barrier(2), list[BaseException]()
    times = Times.of(Schedule.objects.get())
    rows = list(Delivery.objects.all())

    def run(some: list[Delivery]) -> None:
        try:
            start.wait(DEADLINE_SECONDS)
            for row in some:
                digests.gather(row, TOMORROW_AT_8, inboxes.alias, times)
        except BaseException as error:  # noqa: BLE001 - seen in the test's thread
            faults.append(error)
        finally:
            connections[inboxes.alias].close()

    threads = [threading.Thread(target=run, args=[rows[each::2]]) for each in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    assert faults == []
    assert Delivery.objects.filter(notification=None).count() == 1
    assert Delivery.objects.filter(state=DeliveryState.IN_DIGEST).count() == 8
    clock.now = TOMORROW_AT_8
    assert send_due() == Delivered(sent=1)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_long_digest_names_the_newest_and_how_many_more(inboxes: Inboxes, clock: Clock) -> None:
    for number in range(53):
        notify(inboxes.ada, "order.paid", {"n": number})
        clock.pass_by(timedelta(seconds=1))
    clock.pass_by(HOUR)
    send_due()
    clock.now = TOMORROW_AT_8
    send_due()
    [message] = mail.outbox
    assert message.subject == "53 notifications that you have not seen"
    assert "and 3 more: https://shop.example/inbox/page/" in str(message.body)
    assert Delivery.objects.filter(state=DeliveryState.SENT).count() == 54


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_old_digests_are_tidied_away(inboxes: Inboxes, clock: Clock) -> None:
    notify(inboxes.ada, "order.paid")
    clock.pass_by(HOUR)
    send_due()
    clock.now = TOMORROW_AT_8
    send_due()
    tidy(inboxes.alias, now=timezone.now())
    assert Delivery.objects.count() == 2
    tidy(inboxes.alias, now=START + 100 * DAY)
    assert not Delivery.objects.exists()

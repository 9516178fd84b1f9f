"""E-mail about what nobody has seen: after its time, once, and not about what was seen."""

import smtplib
from datetime import UTC, datetime, time, timedelta
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.db import OperationalError, connections
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings as DjangoSettings

from notifications import notify
from notifications.inbox import (
    Delivered,
    Email,
    Priority,
    category,
    kind,
    kinds,
    mark,
    send_due,
    withdraw,
)
from notifications.inbox.channels import Channel
from notifications.inbox.delivery import deliverer as deliverers
from notifications.inbox.delivery.deliverer import Deliverer
from notifications.inbox.delivery.senders import Away
from notifications.inbox.delivery.states import DeliveryState, Reason
from notifications.inbox.delivery.table import waiting
from notifications.inbox.models import Delivery, Notification, Preference, Schedule
from tests.unit.inbox.inboxes import Inboxes
from tests.unit.inbox.mailing import DAY, HOUR, MINUTE, START, Backend, Clock, reasons, sent

pytestmark = pytest.mark.usefixtures("mailing")


# When, and when not


def test_what_nobody_has_seen_is_mailed_after_its_time_and_once(
    inboxes: Inboxes, clock: Clock
) -> None:
    notify(inboxes.ada, "order.paid", {"n": "<7>"}, url="/orders/7/")
    inboxes.relay()
    clock.pass_by(5 * MINUTE - timedelta(seconds=1))
    assert send_due() == Delivered()
    clock.pass_by(timedelta(seconds=1))
    assert send_due() == Delivered(sent=1)
    assert send_due() == Delivered()
    [message] = mail.outbox
    assert isinstance(message, EmailMultiAlternatives)
    assert (message.to, message.subject) == (["ada@example.com"], "Paid <7>")
    assert message.body.startswith("Paid <7>\n\nhttps://shop.example/orders/7/\n")
    assert "about Orders, and you had not seen it yet." in message.body
    html = str(message.alternatives[0][0])
    assert "Paid <b>&lt;7&gt;</b>" in html
    assert 'href="https://shop.example/orders/7/"' in html
    row = Delivery.objects.get()
    assert message.extra_headers["Message-ID"] == f"<{row.pk.hex}@shop.example>"
    assert (row.state, row.ended_at) == (DeliveryState.SENT, clock.now)
    assert (Backend.opened, Backend.closed) == (1, 1)


def test_what_was_seen_meanwhile_is_not_mailed_and_the_row_has_the_reason(
    inboxes: Inboxes, clock: Clock
) -> None:
    for action in ("seen", "read", "archive"):
        notify(inboxes.ada, "order.paid", {"n": action})
        inboxes.relay()
        mark(inboxes.ada, action, ids=[inboxes.ids(inboxes.ada)[0]])
        clock.pass_by(timedelta(seconds=1))
    notify(inboxes.ada, "order.paid", group="sale")
    withdraw(group="sale")
    clock.pass_by(timedelta(seconds=1))
    notify(inboxes.ada, "order.paid", expires=MINUTE)
    clock.pass_by(HOUR)
    assert send_due() == Delivered(suppressed=5)
    names = ("seen", "read", "archived", "withdrawn", "expired")
    assert reasons() == [("suppressed", name) for name in names]
    assert mail.outbox == []


def test_it_is_looked_at_again_between_two_messages(inboxes: Inboxes, clock: Clock) -> None:
    notify([inboxes.ada, inboxes.bob], "order.paid")
    inboxes.relay()
    clock.pass_by(HOUR)

    def see_the_other(message: EmailMultiAlternatives) -> None:
        other = inboxes.bob if message.to == ["ada@example.com"] else inboxes.ada
        mark(other, "seen", ids=inboxes.ids(other))

    Backend.fault = see_the_other
    assert send_due() == Delivered(sent=1, suppressed=1)
    assert len(mail.outbox) == 1


def test_one_that_is_replaced_is_mailed_once_after_its_own_time(
    inboxes: Inboxes, clock: Clock
) -> None:
    notify(inboxes.ada, "order.paid", {"n": 1}, replaces="order")
    clock.pass_by(4 * MINUTE)
    notify(inboxes.ada, "order.paid", {"n": 2}, replaces="order")
    clock.pass_by(2 * MINUTE)
    assert send_due() == Delivered(suppressed=1)
    clock.pass_by(3 * MINUTE)
    assert send_due() == Delivered(sent=1)
    assert sent() == [(["ada@example.com"], "Paid 2")]
    assert reasons() == [("suppressed", "replaced"), ("sent", "")]


def test_what_a_person_has_switched_off_is_not_mailed(inboxes: Inboxes, clock: Clock) -> None:
    everybody = [inboxes.ada, inboxes.bob]
    Preference.objects.create(
        recipient=inboxes.ada, category="orders", channel=Channel.EMAIL, is_on=False
    )
    Preference.objects.create(
        recipient=inboxes.bob, category="news", channel=Channel.EMAIL, is_on=True
    )
    # Nobody can switch that off, also if a row says so from before.
    Preference.objects.create(
        recipient=inboxes.bob, category="alarms", channel=Channel.EMAIL, is_on=False
    )
    for name in ("order.paid", "news", "alarm"):
        notify(everybody, name)
        clock.pass_by(timedelta(seconds=1))
    clock.pass_by(HOUR)
    assert send_due() == Delivered(sent=4, suppressed=2)
    assert sorted(sent()) == [
        (["ada@example.com"], "Alarm"),
        (["bob@example.com"], "Alarm"),
        (["bob@example.com"], "News"),  # of whom the inbox has none: it is off there
        (["bob@example.com"], "Paid"),
    ]
    details = Delivery.objects.filter(reason=Reason.PREFERENCE).order_by("created_at")
    assert [row.detail for row in details] == ["orders: email", "news: email"]


def test_who_has_no_address_or_is_inactive_is_not_mailed(inboxes: Inboxes, clock: Clock) -> None:
    inboxes.ada.email = ""
    inboxes.ada.save()
    inboxes.bob.is_active = False
    inboxes.bob.save()
    notify([inboxes.ada, inboxes.bob], "order.paid")
    clock.pass_by(HOUR)
    assert send_due() == Delivered(suppressed=2)
    assert reasons() == [("suppressed", "no-address"), ("suppressed", "inactive")]


def test_a_kind_that_asks_for_no_email_any_more_is_not_mailed(
    inboxes: Inboxes, clock: Clock
) -> None:
    notify(inboxes.ada, "order.paid")
    notify(inboxes.bob, "news")
    category("orders")
    del kinds._kinds["news"]
    clock.pass_by(HOUR)
    assert send_due() == Delivered(suppressed=2)
    assert reasons() == [("suppressed", "not-asked")] * 2


def test_one_that_is_deleted_is_forgotten(inboxes: Inboxes, clock: Clock) -> None:
    notify([inboxes.ada, inboxes.bob], "order.paid")
    clock.pass_by(HOUR)
    Backend.fault = lambda _: Notification.objects.all().delete() and None
    assert send_due() == Delivered(sent=1)
    assert reasons() == [("sent", "")]  # and no row of the other


def test_quiet_hours_postpone_and_what_is_urgent_comes_at_once(
    inboxes: Inboxes, clock: Clock
) -> None:
    for user in (inboxes.ada, inboxes.bob):  # for whom it is 21:00 in Tokyo
        Schedule.objects.create(
            recipient=user, time_zone="Asia/Tokyo", quiet_from=time(21), quiet_until=time(7)
        )
    notify(inboxes.ada, "order.paid", {"n": 1})
    notify(inboxes.bob, "alarm")
    clock.pass_by(10 * MINUTE)
    assert send_due() == Delivered(sent=1, postponed=1)
    assert sent() == [(["bob@example.com"], "Alarm")]
    waiting = Delivery.objects.get(state=DeliveryState.WAITING)
    assert waiting.due_at == datetime(2026, 11, 29, 22, tzinfo=UTC)
    assert waiting.reason == Reason.QUIET_HOURS
    clock.now = waiting.due_at - MINUTE
    assert send_due() == Delivered()
    clock.pass_by(MINUTE)
    assert send_due() == Delivered(sent=1)


# What it costs


def test_it_is_one_insert_for_a_thousand_and_none_where_no_kind_asks(inboxes: Inboxes) -> None:
    def tables(name: str) -> list[str]:
        with CaptureQueriesContext(connections[inboxes.alias]) as queries:
            notify([inboxes.ada, inboxes.bob], name)
        return [each["sql"] for each in queries if "_delivery" in each["sql"]]

    assert tables("message") == []
    [insert] = tables("order.paid")
    assert insert.startswith("INSERT INTO")


# Failures


def test_a_server_that_is_away_leaves_all_as_it_was(inboxes: Inboxes, clock: Clock) -> None:
    notify([inboxes.ada, inboxes.bob], "order.paid")
    clock.pass_by(HOUR)

    def refuse_the_sender(_: object) -> None:
        raise smtplib.SMTPSenderRefused(530, b"log in", "shop@shop.example")

    Backend.fault = refuse_the_sender
    with pytest.raises(Away, match="log in"):
        send_due()
    assert set(Delivery.objects.values_list("state", "attempts", "holder", "reason")) == {
        (DeliveryState.WAITING, 0, "", "")
    }
    Backend.fault = None
    assert send_due() == Delivered(sent=2)


@pytest.mark.parametrize(
    "error",
    [
        smtplib.SMTPServerDisconnected("gone"),
        TimeoutError("gone"),
        smtplib.SMTPDataError(451, b"gone for now"),
        smtplib.SMTPRecipientsRefused({"ada@example.com": (450, b"gone for now")}),
        RuntimeError("gone: some API"),
    ],
)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_after_an_unknown_answer_it_is_sent_once_more_under_the_same_id(
    inboxes: Inboxes, clock: Clock, error: Exception
) -> None:
    notify(inboxes.ada, "order.paid")
    clock.pass_by(HOUR)
    seen = list[str]()

    def fail_once(message: EmailMultiAlternatives) -> None:
        seen.append(message.extra_headers["Message-ID"])
        if len(seen) == 1:
            raise error

    Backend.fault = fail_once
    assert send_due() == Delivered(postponed=1)
    row = Delivery.objects.get()
    assert (row.attempts, row.reason, row.due_at) == (1, "try-again", clock.now + MINUTE)
    assert "gone" in row.detail
    assert send_due() == Delivered()
    clock.pass_by(MINUTE)
    assert send_due() == Delivered(sent=1)
    assert len(seen) == 2
    assert len(set(seen)) == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_pauses_grow_and_after_days_it_has_failed(inboxes: Inboxes, clock: Clock) -> None:
    notify(inboxes.ada, "order.paid")

    def fail(_: object) -> None:
        raise TimeoutError("nobody there")

    Backend.fault = fail
    clock.pass_by(HOUR)
    began, pauses = clock.now, list[timedelta]()
    while Delivery.objects.get().state == DeliveryState.WAITING:
        clock.now = max(clock.now, Delivery.objects.get().due_at)
        send_due()
        pauses.append(Delivery.objects.get().due_at - clock.now)
    assert pauses[:4] == [MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE]
    assert max(pauses) == 6 * HOUR
    assert clock.now - began > 5 * DAY
    assert reasons() == [("failed", "gave-up")]
    assert Delivery.objects.get().detail == "nobody there"


@pytest.mark.parametrize(
    "error",
    [
        smtplib.SMTPRecipientsRefused({"ada@example.com": (550, b"no such user")}),
        smtplib.SMTPDataError(554, b"no such user"),
        ValueError("no such user"),
    ],
)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_is_refused_has_failed_and_delays_nobody(
    inboxes: Inboxes, clock: Clock, error: Exception
) -> None:
    notify([inboxes.ada, inboxes.bob], "order.paid")
    clock.pass_by(HOUR)

    def refuse(message: EmailMultiAlternatives) -> None:
        if message.to == ["ada@example.com"]:
            raise error

    Backend.fault = refuse
    assert send_due() == Delivered(sent=1, failed=1)
    assert sorted(reasons()) == [("failed", "refused"), ("sent", "")]
    assert "no such user" in Delivery.objects.get(state=DeliveryState.FAILED).detail


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_text_that_cannot_be_rendered_has_failed(inboxes: Inboxes, clock: Clock) -> None:
    kind("broken", text="{{ n|add:'x'|nonsense }}", email=Email())
    notify(inboxes.ada, "broken")
    clock.pass_by(HOUR)
    assert send_due() == Delivered(failed=1)
    assert reasons() == [("failed", "no-text")]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("digest", ["off", "daily"])
def test_a_text_that_needs_a_database_that_is_away_waits_for_it(
    inboxes: Inboxes, clock: Clock, digest: str
) -> None:
    away = [True]

    @kind("stock", text="{{ left }} left", email=Email())
    def stock(_: Notification) -> dict[str, Any]:
        if away:
            raise OperationalError("the replica is away")
        return {"left": 3}

    Schedule.objects.create(recipient=inboxes.ada, digest=digest)
    notify(inboxes.ada, "stock")
    clock.pass_by(DAY)
    send_due()
    clock.pass_by(DAY)
    send_due()
    assert mail.outbox == []
    ended = [DeliveryState.FAILED, DeliveryState.SENT]
    assert not Delivery.objects.filter(state__in=ended).exists()
    away.clear()
    clock.pass_by(DAY)
    assert send_due() == Delivered(sent=1)
    assert "3 left" in str(mail.outbox[0].body)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_result_that_cannot_be_noted_is_noted_by_a_new_connection(
    inboxes: Inboxes, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    from notifications.inbox.delivery import table

    notify(inboxes.ada, "order.paid")
    clock.pass_by(HOUR)
    real, calls = table.end, list[int]()

    def fail_twice(*args: Any) -> None:
        calls.append(1)
        if len(calls) < 3:
            raise OperationalError("gone away")
        real(*args)

    monkeypatch.setattr(table, "end", fail_twice)
    assert send_due() == Delivered(sent=1)
    assert reasons() == [("sent", "")]


# Leases


def test_a_row_that_another_has_leased_is_left_until_the_lease_ends(
    inboxes: Inboxes, clock: Clock
) -> None:
    from notifications.inbox.delivery import table

    notify([inboxes.ada, inboxes.bob], "order.paid")
    clock.pass_by(HOUR)
    first, *_ = table.lease(inboxes.alias, clock.now, holder="killed", seconds=300, count=1)
    assert send_due() == Delivered(sent=1)
    Delivery.objects.filter(pk=first.pk).update(leased_until=START - DAY)  # by the database's clock
    assert send_due() == Delivered(sent=1)
    assert len(mail.outbox) == 2


def test_who_is_too_slow_renews_what_is_left_and_skips_what_is_lost(
    inboxes: Inboxes, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        notify([inboxes.ada, inboxes.bob], "order.paid")
    clock.pass_by(HOUR)
    deliverer = Deliverer(inboxes.alias, lease_seconds=60.0, clock=clock)

    def lose_the_rest(_: object) -> None:
        after_the_lease = monotonic() + 60
        monkeypatch.setattr(deliverers, "time", SimpleNamespace(monotonic=lambda: after_the_lease))
        Delivery.objects.filter(state=DeliveryState.WAITING).update(holder="other")

    Backend.fault = lose_the_rest
    assert deliverer.deliver_some()
    assert (deliverer.done.sent, len(mail.outbox)) == (1, 1)
    assert Delivery.objects.filter(holder="other").count() == 3


def test_who_is_to_stop_releases_what_it_has_not_sent(inboxes: Inboxes, clock: Clock) -> None:
    notify([inboxes.ada, inboxes.bob], "order.paid")
    clock.pass_by(HOUR)
    deliverer = Deliverer(inboxes.alias, lease_seconds=300, clock=clock)

    def stop(_: object) -> None:
        deliverer.is_stopping = True

    Backend.fault = stop
    deliverer.deliver_some()
    assert send_due() == Delivered(sent=1)
    assert len(mail.outbox) == 2


# What it says


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_kind_has_its_own_templates_and_ours_for_the_rest(
    inboxes: Inboxes, clock: Clock, settings: DjangoSettings, tmp_path: Any
) -> None:
    folder = tmp_path / "shop" / "email"
    folder.mkdir(parents=True)
    (folder / "paid_subject.txt").write_text("{{ params.n }} & more,\n for {{ recipient }}")
    (folder / "paid.html").write_text("<p>{{ params.n }}: {{ html }} {{ created|date:'H:i' }}</p>")
    settings.TEMPLATES = [
        {**settings.TEMPLATES[0], "DIRS": [tmp_path, *settings.TEMPLATES[0]["DIRS"]]}
    ]
    kind("own", text="Own <i>text</i>", email=Email(template="shop/email/paid"))
    Schedule.objects.create(recipient=inboxes.ada, time_zone="Asia/Tokyo")
    notify(inboxes.ada, "own", {"n": "<1>"})
    clock.pass_by(HOUR)
    send_due()
    [message] = mail.outbox
    assert isinstance(message, EmailMultiAlternatives)
    assert message.subject == "<1> & more, for ada"
    assert message.alternatives[0][0] == "<p>&lt;1&gt;: Own <i>text</i> 21:00</p>"
    assert message.body.startswith("Own text\n")


def german(user: object) -> str:
    return "de"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_it_is_in_the_language_of_its_person(
    inboxes: Inboxes, clock: Clock, settings: DjangoSettings
) -> None:
    language = "tests.unit.inbox.test_delivery.german"
    settings.CARILLON = {**settings.CARILLON, "INBOX_LANGUAGE": language}
    notify(inboxes.ada, "order.paid")
    clock.pass_by(HOUR)
    send_due()
    assert "weil es Orders betrifft" in mail.outbox[0].body


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_priority_is_that_of_the_notification(inboxes: Inboxes, clock: Clock) -> None:
    Schedule.objects.create(recipient=inboxes.ada, quiet_from=time(12), quiet_until=time(14))
    notify(inboxes.ada, "order.paid", priority=Priority.HIGH)
    notify(inboxes.ada, "alarm", priority=Priority.NORMAL)
    clock.pass_by(HOUR)
    assert send_due() == Delivered(sent=1, postponed=1)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_site_without_time_zones_has_the_same_quiet_hours(
    inboxes: Inboxes, clock: Clock, settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "America/New_York"
    local = datetime(2026, 11, 29, 21, 30)  # noqa: DTZ001 - as Django's own `now()` is then
    monkeypatch.setattr("django.utils.timezone.now", lambda: local)
    Schedule.objects.create(
        recipient=inboxes.ada, time_zone="Asia/Tokyo", quiet_from=time(11), quiet_until=time(13)
    )
    for user in (inboxes.ada, inboxes.bob):
        notify(user, "order.paid", expires=5 * HOUR)
    local += 10 * MINUTE
    assert send_due() == Delivered(sent=1, postponed=1)
    due_at = Delivery.objects.get(state=DeliveryState.WAITING).due_at
    assert due_at == datetime(2026, 11, 29, 23)  # noqa: DTZ001 - 13:00 in Tokyo
    local = due_at
    assert waiting(inboxes.alias, local).late == 0
    assert send_due() == Delivered(sent=1)

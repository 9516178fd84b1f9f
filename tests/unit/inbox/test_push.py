"""Push messages to a person's devices: what they say, to whom, how often, and how they end."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings as DjangoSettings

from notifications import Invalid, notify
from notifications.inbox import Delivered, Email, Push, kind, mark, send_due, withdraw
from notifications.inbox.changes import expire
from notifications.inbox.channels import Channel, Digest
from notifications.inbox.delivery import table
from notifications.inbox.delivery.closing import MAX_CLOSED
from notifications.inbox.delivery.deliverer import MAX_ATTEMPTS
from notifications.inbox.delivery.senders import Away
from notifications.inbox.delivery.states import DeliveryState
from notifications.inbox.explanation import explain
from notifications.inbox.models import Delivery, Device, Notification, Preference, Schedule
from notifications.inbox.push.devices import MAX_DEVICES, subscribe, unsubscribe
from notifications.inbox.push.keys import make_key
from notifications.inbox.push.sender import MAX_RETRY_AFTER, PushSender, retry_after
from tests.harness.push_service import MAX_CONTENT_BYTES, PushedDevice
from tests.unit.inbox.inboxes import Inboxes
from tests.unit.inbox.mailing import HOUR, MINUTE, Clock, reasons
from tests.unit.inbox.pushing import Pushing, pushing

__all__ = ["pushing"]
one_database = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def bodies(device: PushedDevice) -> list[str]:
    return [message["notification"]["body"] for message in device.messages]


def states() -> list[DeliveryState]:
    return [DeliveryState(each.state) for each in Delivery.objects.order_by("created_at")]


# What it says


def test_each_device_gets_what_nobody_has_seen_once_and_can_read_it(
    inboxes: Inboxes, clock: Clock, pushing: Pushing
) -> None:
    laptop, phone = pushing.device_of(inboxes.ada), pushing.device_of(inboxes.ada)
    other = pushing.device_of(inboxes.bob)
    notify(inboxes.ada, "order.paid", {"n": "<7>"}, url="/orders/7/")
    assert send_due() == Delivered(sent=1)
    assert send_due() == Delivered()
    row = Notification.objects.get()
    expected = {
        "web_push": 8030,
        "notification": {
            "title": "Orders",
            "body": "Paid <7>",
            "navigate": f"https://shop.example/inbox/follow/{row.pk}",
            "tag": str(row.pk),
            "lang": "en-us",
            "timestamp": int(clock.now.timestamp() * 1000),
            "app_badge": "1",
        },
        "app_badge": 1,
    }
    assert laptop.messages == phone.messages == [expected]
    assert other.messages == []
    assert pushing.service.contacts == {"https://shop.example"}
    assert [row.state for row in Delivery.objects.all()] == [DeliveryState.SENT]


@one_database
def test_the_kind_decides_how_long_how_urgently_and_under_which_topic(
    inboxes: Inboxes, clock: Clock, pushing: Pushing
) -> None:
    device = pushing.device_of(inboxes.ada)
    kind("odd", text="Odd", push=Push(urgency="very-low", ttl=timedelta(hours=2)))
    notify(inboxes.ada, "order.paid", {"n": 1})
    notify(inboxes.ada, "order.paid", {"n": 2}, expires=timedelta(seconds=90))
    for name in ("alarm", "tip", "odd"):
        notify(inboxes.ada, name)
    assert send_due() == Delivered(sent=5)
    ids = {row.kind: row.pk.hex for row in Notification.objects.order_by("-created_at")}
    found = {
        message["notification"]["body"]: (headers["TTL"], headers["Urgency"], headers["Topic"])
        for message, headers in zip(device.messages, device.headers, strict=True)
    }
    assert found.pop("Paid 2")[:2] == ("90", "normal")
    assert found.pop("Paid 1")[:2] == ("86400", "normal")
    assert found == {
        "Alarm": ("86400", "high", ids["alarm"]),
        "Tip": ("0", "low", "tips"),
        "Odd": ("7200", "very-low", ids["odd"]),
    }
    titles = {
        each["notification"]["body"]: each["notification"]["title"] for each in device.messages
    }
    assert (titles["Alarm"], titles["Tip"]) == ("Fire!", "Other notifications")


@one_database
@pytest.mark.parametrize("text", ["x" * 9_000, "ü" * 7_000, "🔔" * 3_000, '"\n' * 3_000])
def test_a_long_text_is_cut_to_what_a_push_service_takes(
    inboxes: Inboxes, pushing: Pushing, text: str
) -> None:
    device = pushing.device_of(inboxes.ada)
    kind("long", text="{{ text|safe }}", push=Push())
    notify(inboxes.ada, "long", {"text": text}, url=f"/{'a' * 1_900}/")
    assert send_due() == Delivered(sent=1)
    [body] = bodies(device)
    assert len(body) > 200
    # The service refuses more than this.
    assert len(json.dumps(device.messages[0], ensure_ascii=False).encode()) < MAX_CONTENT_BYTES


@pytest.mark.parametrize(
    "options", [{"urgency": "soon"}, {"topic": "a b"}, {"topic": "a" * 33}, {"ttl": -MINUTE}]
)
def test_what_no_push_service_would_take_is_an_error_of_the_kind(options: dict[str, Any]) -> None:
    with pytest.raises(ImproperlyConfigured, match="push message"):
        Push(**options)


# When, and when not


def test_who_has_seen_it_meanwhile_or_wants_none_or_has_no_device_gets_none(
    inboxes: Inboxes, clock: Clock, pushing: Pushing
) -> None:
    device, lost = pushing.device_of(inboxes.ada), pushing.device_of(inboxes.bob)
    notify([inboxes.ada, inboxes.bob], "order.late")
    inboxes.relay()
    assert send_due() == Delivered()
    mark(inboxes.ada, "seen", ids=inboxes.ids(inboxes.ada))
    unsubscribe(inboxes.bob, lost.endpoint)
    clock.pass_by(5 * MINUTE)
    assert send_due() == Delivered(suppressed=2)
    notify(inboxes.bob, "order.paid")
    assert send_due() == Delivered()  # for whom there is no device there is no row
    assert reasons() == [("suppressed", "seen"), ("suppressed", "no-address")]
    Preference.objects.create(
        recipient=inboxes.ada, category="orders", channel=Channel.PUSH, is_on=False
    )
    notify(inboxes.ada, "order.paid")
    assert send_due() == Delivered(suppressed=1)
    assert device.messages == []


def test_quiet_hours_are_kept_and_digests_are_not_for_push_messages(
    inboxes: Inboxes, clock: Clock, pushing: Pushing
) -> None:
    device = pushing.device_of(inboxes.ada)
    Schedule.objects.create(
        recipient=inboxes.ada,
        time_zone="UTC",
        quiet_from="11:00",
        quiet_until="13:00",
        digest=Digest.WEEKLY,
    )
    notify(inboxes.ada, "order.paid", {"n": 1})
    notify(inboxes.ada, "alarm")
    assert send_due() == Delivered(sent=1, postponed=1)
    assert bodies(device) == ["Alarm"]
    clock.pass_by(HOUR)
    assert send_due() == Delivered(sent=1)
    assert bodies(device) == ["Alarm", "Paid 1"]


def test_a_kind_without_push_costs_no_query(inboxes: Inboxes, pushing: Pushing) -> None:
    kind("plain", text="Plain")
    with CaptureQueriesContext(connections[inboxes.alias]) as queries:
        notify(inboxes.ada, "plain")
    assert not [query for query in queries if "delivery" in query["sql"].lower()]


# What push services answer


@one_database
@pytest.mark.parametrize("status", [404, 410])
def test_a_device_that_is_gone_is_forgotten_and_the_others_get_it(
    inboxes: Inboxes, pushing: Pushing, status: int
) -> None:
    gone, other = pushing.device_of(inboxes.ada), pushing.device_of(inboxes.ada)
    gone.answers = [status]
    notify(inboxes.ada, "order.paid", {"n": 1})
    assert send_due() == Delivered(sent=1)
    assert [device.endpoint for device in Device.objects.all()] == [other.endpoint]
    other.answers = [status]
    notify(inboxes.ada, "order.paid", {"n": 2})
    assert send_due() == Delivered(suppressed=1)
    assert bodies(other) == ["Paid 1"]
    assert not Device.objects.exists()


def test_a_push_service_that_is_away_is_tried_again_and_no_device_gets_it_twice(
    inboxes: Inboxes, clock: Clock, pushing: Pushing
) -> None:
    fine, slow = pushing.device_of(inboxes.ada), pushing.device_of(inboxes.ada)
    slow.answers = [503, 429, 403, 401]
    notify(inboxes.ada, "order.paid", {"n": 1})
    for minutes in (1, 2, 4, 8):
        assert send_due() == Delivered(postponed=1)
        assert reasons() == [("waiting", "try-again")]
        clock.pass_by(minutes * MINUTE)
    assert send_due() == Delivered(sent=1)
    assert (bodies(fine), bodies(slow)) == (["Paid 1"], ["Paid 1"])


def test_what_has_reached_one_device_is_closed_there_if_it_is_seen_before_the_other_has_it(
    inboxes: Inboxes, clock: Clock, pushing: Pushing
) -> None:
    fine, slow = pushing.device_of(inboxes.ada), pushing.device_of(inboxes.ada)
    slow.answers = [503]
    notify(inboxes.ada, "order.paid")
    assert deliver(inboxes) == Delivered(postponed=1)
    mark(inboxes.ada, "read", ids=inboxes.ids(inboxes.ada))
    clock.pass_by(MINUTE)
    assert deliver(inboxes) == Delivered(sent=1, closed=1)
    assert (len(fine.messages), fine.shown, slow.messages) == (2, [], [])


@one_database
def test_what_is_seen_while_an_attempt_fails_is_closed_at_once_where_it_is_shown(
    inboxes: Inboxes, clock: Clock, pushing: Pushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine, slow = pushing.device_of(inboxes.ada), pushing.device_of(inboxes.ada)
    slow.answers = [503]
    notify(inboxes.ada, "order.paid")
    postpone = table.postpone

    def see_it_and_postpone(*arguments: Any, **options: Any) -> None:
        mark(inboxes.ada, "read", ids=inboxes.ids(inboxes.ada))
        postpone(*arguments, **options)

    monkeypatch.setattr(table, "postpone", see_it_and_postpone)
    assert deliver(inboxes) == Delivered(postponed=1, sent=1, closed=1)
    assert (fine.shown, slow.messages) == ([], [])


@one_database
@pytest.mark.parametrize("status", [400, 413, 302])
def test_what_is_refused_for_good_fails_with_the_words_of_the_service(
    inboxes: Inboxes, pushing: Pushing, status: int
) -> None:
    device = pushing.device_of(inboxes.ada)
    device.answers = [status]
    notify(inboxes.ada, "order.paid")
    assert send_due() == Delivered(failed=1)
    [row] = Delivery.objects.all()
    server = pushing.service.origin.removeprefix("http://")
    assert (row.reason, row.detail.strip()) == ("refused", f"{server}: {status}")
    assert Device.objects.count() == 1


@one_database
def test_one_device_that_refuses_does_not_matter_if_another_has_it(
    inboxes: Inboxes, pushing: Pushing
) -> None:
    odd, fine = pushing.device_of(inboxes.ada), pushing.device_of(inboxes.ada)
    odd.answers = [400]
    notify(inboxes.ada, "order.paid", {"n": 1})
    assert send_due() == Delivered(sent=1)
    assert (bodies(odd), bodies(fine)) == ([], ["Paid 1"])


@one_database
def test_a_service_without_an_answer_is_tried_again(
    inboxes: Inboxes, pushing: Pushing, settings: DjangoSettings
) -> None:
    nowhere = "http://127.0.0.1:9"  # discard: nobody listens
    settings.CARILLON = {**settings.CARILLON, "PUSH_SERVICES": [nowhere, pushing.service.origin]}
    device = pushing.device_of(inboxes.ada)
    Device.objects.update(endpoint=f"{nowhere}/push/1")
    notify(inboxes.ada, "order.paid")
    assert send_due() == Delivered(postponed=1)
    assert Delivery.objects.get().detail.startswith("127.0.0.1:9: ConnectError")
    assert device.messages == []


@one_database
def test_a_busy_service_is_left_alone_for_as_long_as_it_asks(
    inboxes: Inboxes, clock: Clock, pushing: Pushing
) -> None:
    device = pushing.device_of(inboxes.ada)
    device.answers, device.retry_after = [429], "600"
    for n in range(3):
        notify(inboxes.ada, "order.paid", {"n": n})
    assert deliver(inboxes) == Delivered(postponed=3)
    assert device.answers == []  # the service was asked once for the three
    clock.pass_by(5 * MINUTE)
    assert deliver(inboxes) == Delivered(sent=2)
    clock.pass_by(5 * MINUTE)
    assert deliver(inboxes) == Delivered(sent=1)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("", 0),
        ("soon", 0),
        ("-3", 0),
        ("9" * 400, 0),
        ("9" * 9, MAX_RETRY_AFTER.total_seconds()),
        ("Thu, 01 Jan 1970 00:00:00 -0000", 0),
        ("Fri, 31 Dec 9999 00:00:00 GMT", MAX_RETRY_AFTER.total_seconds()),
    ],
)
def test_how_long_a_service_asks_to_be_left_alone(value: str, seconds: int) -> None:
    assert retry_after(value).total_seconds() == seconds


def test_a_service_asks_to_be_left_alone_until_a_time() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert timedelta(minutes=55) < retry_after(until) <= timedelta(hours=1)


@one_database
def test_a_device_that_has_subscribed_with_another_key_is_sent_nothing(
    inboxes: Inboxes, clock: Clock, pushing: Pushing, settings: DjangoSettings
) -> None:
    device = pushing.device_of(inboxes.ada)
    configured = settings.CARILLON
    settings.CARILLON = {**configured, "PUSH_KEY": None}
    notify(inboxes.ada, "order.paid", {"n": 1})
    assert send_due() == Delivered(suppressed=1)  # nobody has subscribed with this key
    settings.CARILLON = configured
    notify(inboxes.ada, "order.paid", {"n": 1})
    assert send_due() == Delivered(sent=1)
    assert bodies(device) == ["Paid 1"]


# How they end


def closed(device: PushedDevice) -> list[str]:
    return [tag for message in device.messages for tag in message.get("close", ())]


def deliver(inboxes: Inboxes) -> Delivered:
    inboxes.relay()
    return send_due()


@pytest.mark.parametrize("action", ["seen", "read", "archive"])
def test_what_is_seen_elsewhere_is_closed_on_all_devices_that_show_it(
    inboxes: Inboxes, clock: Clock, pushing: Pushing, action: str
) -> None:
    phone = pushing.device_of(inboxes.ada)
    notify(inboxes.ada, "order.paid", {"n": 1})
    notify(inboxes.ada, "order.paid", {"n": 2})
    assert deliver(inboxes) == Delivered(sent=2)
    newer = pushing.device_of(inboxes.ada)  # it shows neither
    clock.pass_by(MINUTE)
    newest, _ = inboxes.ids(inboxes.ada)
    mark(inboxes.ada, action, ids=[newest])
    assert deliver(inboxes) == Delivered(closed=1)
    assert deliver(inboxes) == Delivered()
    assert phone.messages[-1] == {"close": [str(newest)], "app_badge": 1}
    assert phone.headers[-1]["Topic"] == newest.hex
    assert len(phone.shown) == 1
    assert newer.messages == []
    row = Delivery.objects.get(notification=newest)
    assert (row.state, row.closed_at) == (DeliveryState.CLOSED, clock.now)
    steps = [
        step.text for step in explain(Notification.objects.get(pk=newest), using=inboxes.alias)
    ]
    assert steps.index("push: sent.") < steps.index("push: closed on the devices.")


def test_what_is_withdrawn_or_has_expired_is_closed_and_so_is_what_is_in_no_list(
    inboxes: Inboxes, clock: Clock, pushing: Pushing
) -> None:
    phone = pushing.device_of(inboxes.ada)
    Preference.objects.create(
        recipient=inboxes.ada, category="orders", channel=Channel.IN_APP, is_on=False
    )
    notify(inboxes.ada, "order.paid", {"n": 1}, group="muted")
    notify(inboxes.ada, "alarm", group="listed")
    assert deliver(inboxes) == Delivered(sent=2)
    withdraw(group="listed")
    withdraw(group="muted")
    assert deliver(inboxes) == Delivered(closed=2)
    assert phone.shown == []


def test_what_is_seen_while_it_is_sent_is_closed_as_well(
    inboxes: Inboxes, pushing: Pushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = pushing.device_of(inboxes.ada)
    notify(inboxes.ada, "order.paid", {"n": 1})
    inboxes.relay()
    post = PushSender._post

    def post_and_see(*arguments: Any) -> None:
        post(*arguments)
        if len(phone.messages) == 1:
            mark(inboxes.ada, "read", ids=inboxes.ids(inboxes.ada))
            inboxes.relay()  # finds nothing that was sent yet

    monkeypatch.setattr(PushSender, "_post", post_and_see)
    assert send_due() == Delivered(sent=1, closed=1)
    assert phone.shown == []


def test_one_that_replaces_another_is_shown_instead_and_closed_once(
    inboxes: Inboxes, clock: Clock, pushing: Pushing
) -> None:
    phone = pushing.device_of(inboxes.ada)
    for number in (1, 2):
        notify(inboxes.ada, "order.paid", {"n": number}, replaces="order")
        assert deliver(inboxes) == Delivered(sent=1)
        clock.pass_by(MINUTE)
    assert phone.shown == ["Paid 2"]
    mark(inboxes.ada, "read", ids=inboxes.ids(inboxes.ada))
    assert deliver(inboxes) == Delivered(closed=2)
    assert len(closed(phone)) == 1
    assert phone.shown == []


def test_what_is_unseen_again_is_not_closed(
    inboxes: Inboxes, clock: Clock, pushing: Pushing
) -> None:
    phone = pushing.device_of(inboxes.ada)
    notify(inboxes.ada, "order.paid", {"n": 1}, replaces="order")
    assert deliver(inboxes) == Delivered(sent=1)
    mark(inboxes.ada, "read", ids=inboxes.ids(inboxes.ada))
    inboxes.relay()
    clock.pass_by(MINUTE)
    notify(inboxes.ada, "order.paid", {"n": 2}, replaces="order")
    assert deliver(inboxes) == Delivered(sent=1)
    assert closed(phone) == []
    assert phone.shown == ["Paid 2"]


def test_what_is_shown_is_closed_also_if_what_replaces_it_was_never_sent(
    inboxes: Inboxes, clock: Clock, pushing: Pushing
) -> None:
    phone = pushing.device_of(inboxes.ada)
    notify(inboxes.ada, "order.late", replaces="late")
    clock.pass_by(5 * MINUTE)
    assert deliver(inboxes) == Delivered(sent=1)
    notify(inboxes.ada, "order.late", replaces="late")
    inboxes.relay()
    mark(inboxes.ada, "read", ids=inboxes.ids(inboxes.ada))
    assert deliver(inboxes) == Delivered(closed=1)
    assert phone.shown == []
    clock.pass_by(5 * MINUTE)
    assert deliver(inboxes) == Delivered(suppressed=1)


def test_all_that_is_read_at_once_is_closed_by_one_message(
    inboxes: Inboxes, pushing: Pushing
) -> None:
    phone = pushing.device_of(inboxes.ada)
    for number in range(MAX_CLOSED + 5):
        notify(inboxes.ada, "order.paid", {"n": number})
    shown = MAX_CLOSED + 5
    assert deliver(inboxes) == Delivered(sent=shown)
    mark(inboxes.ada, "read", up_to=2**62)
    assert deliver(inboxes) == Delivered(closed=shown)
    assert [len(message["close"]) for message in phone.messages[shown:]] == [MAX_CLOSED, 5]
    assert phone.shown == []


def test_what_has_expired_is_closed_for_a_device_that_was_away(
    inboxes: Inboxes, clock: Clock, pushing: Pushing
) -> None:
    phone = pushing.device_of(inboxes.ada)
    notify(inboxes.ada, "order.paid", expires=HOUR)
    assert deliver(inboxes) == Delivered(sent=1)
    clock.pass_by(HOUR)
    assert expire(using=inboxes.alias) == 1
    assert deliver(inboxes) == Delivered(closed=1)
    assert phone.shown == []
    assert phone.headers[-1]["TTL"] == "86400"


@one_database
def test_who_gives_up_on_one_device_has_sent_it_to_the_others(
    inboxes: Inboxes, clock: Clock, pushing: Pushing
) -> None:
    fine, broken = pushing.device_of(inboxes.ada), pushing.device_of(inboxes.ada)
    broken.answers = [500] * MAX_ATTEMPTS
    notify(inboxes.ada, "order.paid", {"n": 1})
    for _ in range(MAX_ATTEMPTS - 1):
        assert deliver(inboxes) == Delivered(postponed=1)
        clock.pass_by(6 * HOUR)
    assert deliver(inboxes) == Delivered(sent=1)
    mark(inboxes.ada, "read", ids=inboxes.ids(inboxes.ada))
    assert deliver(inboxes) == Delivered(closed=1)
    assert fine.shown == []


@one_database
def test_a_channel_that_cannot_send_stops_no_other(
    inboxes: Inboxes, pushing: Pushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = pushing.device_of(inboxes.ada)
    inboxes.ada.email = "ada@example.com"
    inboxes.ada.save()
    kind("both", text="Both", push=Push(), email=Email(after=timedelta(0)))
    notify(inboxes.ada, "both")

    def away() -> None:
        raise OSError("the mail server is away")

    monkeypatch.setattr("notifications.inbox.delivery.email._default_backend", away)
    with pytest.raises(Away):
        send_due()
    assert bodies(phone) == ["Both"]


def test_a_close_that_fails_is_tried_again_where_it_failed(
    inboxes: Inboxes, clock: Clock, pushing: Pushing
) -> None:
    first, second = pushing.device_of(inboxes.ada), pushing.device_of(inboxes.ada)
    notify(inboxes.ada, "order.paid")
    assert deliver(inboxes) == Delivered(sent=1)
    mark(inboxes.ada, "read", ids=inboxes.ids(inboxes.ada))
    second.answers = [500]
    assert deliver(inboxes) == Delivered(postponed=1)
    assert states() == [DeliveryState.CLOSING]
    clock.pass_by(MINUTE)
    assert send_due() == Delivered(closed=1)
    assert (len(closed(first)), len(closed(second))) == (1, 1)


@one_database
def test_a_topic_of_the_kind_is_not_that_of_what_closes(inboxes: Inboxes, pushing: Pushing) -> None:
    phone = pushing.device_of(inboxes.ada)
    notify(inboxes.ada, "tip")
    assert deliver(inboxes) == Delivered(sent=1)
    mark(inboxes.ada, "read", ids=inboxes.ids(inboxes.ada))
    assert deliver(inboxes) == Delivered(closed=1)
    assert "Topic" not in phone.headers[-1]


@one_database
def test_browsers_that_must_show_every_message_get_none_that_closes(
    inboxes: Inboxes, pushing: Pushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.inbox.push.sender.SHOWS_ALL", "127.0.0.1")
    phone = pushing.device_of(inboxes.ada)
    notify(inboxes.ada, "order.paid")
    assert deliver(inboxes) == Delivered(sent=1)
    mark(inboxes.ada, "read", ids=inboxes.ids(inboxes.ada))
    assert deliver(inboxes) == Delivered(closed=1)
    assert len(phone.messages) == 1


# Devices


def test_a_device_belongs_to_who_subscribed_last_and_a_person_has_so_many(
    inboxes: Inboxes, clock: Clock, pushing: Pushing
) -> None:
    shared = pushing.device_of(inboxes.ada)
    subscribe(inboxes.bob, endpoint=shared.endpoint, **shared.subscription["keys"])
    assert [device.recipient_id for device in Device.objects.all()] == [inboxes.bob.pk]
    unsubscribe(inboxes.ada, shared.endpoint)  # it is not hers
    assert Device.objects.count() == 1
    for _ in range(MAX_DEVICES):
        clock.pass_by(MINUTE)
        pushing.device_of(inboxes.bob)
    endpoints = _endpoints(Device.objects.all())
    assert len(endpoints) == MAX_DEVICES
    assert shared.endpoint not in endpoints


def _endpoints(devices: Iterable[Device]) -> list[str]:
    return [device.endpoint for device in devices]


@one_database
@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:1/push",
        "http://169.254.169.254/latest",
        "https://push.example@127.0.0.1/",
        "https://push.example.evil.example/",
        "https://push.example:444/",
        "http://push.example/",
        "https://push.example:port/",
        "https://[/",
        "https://evil.example\\.push.example/",
        "https://evil.example\t.push.example/",
        "https://evil.example#.push.example/",
        "file:///etc/passwd",
        "",
    ],
)
def test_the_server_sends_to_no_address_that_is_no_push_service(
    inboxes: Inboxes, pushing: Pushing, settings: DjangoSettings, endpoint: str
) -> None:
    settings.CARILLON = {
        **settings.CARILLON,
        "PUSH_SERVICES": ["https://push.example", "https://*.push.example"],
    }
    keys = pushing.service.device().subscription["keys"]
    for good in ("https://push.example/1", "https://a.push.example:443/2"):
        subscribe(inboxes.ada, endpoint=good, **keys)
    with pytest.raises(Invalid, match="PUSH_SERVICES"):
        subscribe(inboxes.ada, endpoint=endpoint, **keys)
    # One that was allowed before is not sent to.
    Device.objects.update(endpoint=endpoint)
    notify(inboxes.ada, "order.paid")
    assert send_due() == Delivered(failed=1)


def test_a_key_is_random_and_its_public_half_is_a_point_of_the_curve() -> None:
    keys = {make_key() for _ in range(3)}
    assert len(keys) == 3
    assert {len(key) for key in keys} == {43}
